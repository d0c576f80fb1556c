"""A video, a sound, a predictor -> the video saying the sound. Two passes, constant memory.

This is the one place where OUT is finished: its note that it was edited, and its report.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.contracts import Predictor, PredictorSpec, Session
from core.errors import InputError
from core.files import write_json
from core.media.crop import warp
from core.media.tracks import others_of, sound_of
from core.media.video import VideoWriter
from core.sample import SAMPLE_RATE
from core.weights import Store
from inference.ahead import ahead
from inference.engine import Clock, edit_frames
from inference.footage import Span
from inference.job import Job, Progress, check_job
from inference.plan import Plan, plan_crops, plan_frames
from inference.report import SyncReport, make_report, note, report_path
from inference.tracks import Patient, Tracker, follow

AHEAD = 8
"""Frames that decoding and editing may be ahead; each costs a frame of memory."""


def sync(  # noqa: PLR0913 - one keyword a choice of the person
    video: Path,
    audio: Path,
    out: Path,
    predictor: Predictor,
    store: Store,
    *,
    crf: int = 18,
    seed: int = 0,
    progress: Progress | None = None,
    span: Span | None = None,
    face: str = "largest",
) -> SyncReport:
    """Makes the person in VIDEO say AUDIO.

    As many frames out as in, of the same size, at the same times; frames without a usable face
    pass through. AUDIO replaces VIDEO's first sound and is cut to OUT's length; it is copied where
    mp4 holds its codec. VIDEO's other tracks are kept where mp4 holds them.

    Args:
        video: any video file.
        audio: any file with sound.
        out: the .mp4 to write; its report lies beside it. Both appear whole or not at all.
        predictor: from ``inference.load``, or anything that keeps the contract.
        store: weights of the face tracker (unused by systems that edit whole frames).
        crf: x264's quality, 0 to 51, lower is better.
        seed: of everything drawn by chance; equal seeds give equal bytes on the same day.
        progress: told how far it is.
        span: which part of VIDEO, and how long OUT is; None is all of it.
        face: whose mouth: ``largest`` (whoever that is), ``left``, ``right``, a number of
            ``inference.people.find_people``, or a picture of the person.

    Raises:
        InputError: something given can't be used; nothing was written.
    """
    tracker: Tracker | None = None
    job = check_job(video, audio, out, crf, seed, progress, span)
    if predictor.spec.crop is not None:
        tracker = Patient(_tracker(job, store, face))
    return run(job, predictor, tracker)


def _tracker(job: Job, store: Store, face: str) -> Tracker:
    """What follows the wanted face; slow to import, and not every system needs it."""
    from models.experts.face import FaceMesh

    if face == "largest":
        return FaceMesh(store)
    from inference.people import Picked, choose, find_people
    from models.experts.identity import Identity

    net = Identity(store)
    who = net if net.available else None
    people = find_people(job.footage, FaceMesh(store), who)
    return Picked(store, choose(people, face, store, who), who)


def run(job: Job, predictor: Predictor, tracker: Tracker | None) -> SyncReport:
    """The two passes; ``tracker`` is None for systems that edit whole frames."""
    clock, begin = Clock(), time.perf_counter()
    plan = _first_pass(job, predictor, tracker, clock)
    session = predictor.prepare(_references(job, plan, predictor), _heard(job, plan), job.seed)
    count = 0
    with _writer(job) as writer, _edited(job, plan, session, predictor.spec, clock) as frames:
        for count, frame in enumerate(frames, start=1):
            with clock.part("encode"):
                writer.write(frame, float(plan.tracks.times_s[count - 1]))
            job.progress("edit", count, len(plan))
        if count != len(plan):
            raise InputError(
                f"{job.video} gave {len(plan)} frames when first read and {count} the second time; "
                "don't change the file while it is read"
            )
    report = make_report(job, plan, predictor, clock, time.perf_counter() - begin)
    write_json(report_path(job.out), asdict(report))
    return report


def _writer(job: Job) -> VideoWriter:
    """The writer of OUT, on VIDEO's own clock."""
    info = job.info
    size = info.width * (1 + job.beside), info.height
    writer = VideoWriter(job.out, *size, info.fps, crf=job.crf, metadata=note())
    writer.threads, writer.time_base = 0, job.footage.time_base
    writer.colours = info.colours
    writer.tracks = (sound_of(job.audio), *others_of(job.video, job.footage.start_s)[0])
    return writer


@contextmanager
def _edited(
    job: Job, plan: Plan, session: Session, spec: PredictorSpec, clock: Clock
) -> Iterator[Iterator[np.ndarray]]:
    """The edited frames, while decoding and editing run ahead in threads of their own."""
    with (
        closing(ahead(job.frames(clock), AHEAD)) as decoded,
        closing(ahead(edit_frames(decoded, plan, session, spec, clock), AHEAD)) as done,
    ):
        yield _beside(job, done) if job.beside else done


def _beside(job: Job, edited: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Each frame as it was, on the left, and as it is."""
    for (_, was), now in zip(job.footage, edited, strict=False):
        yield np.hstack([was, now])


def _first_pass(job: Job, predictor: Predictor, tracker: Tracker | None, clock: Clock) -> Plan:
    """Reads the whole video once; raises InputError when there is nobody in it."""
    spec = predictor.spec
    with closing(ahead(job.frames(clock), AHEAD)) as frames:
        if spec.crop is None:
            times = []
            for count, (time_s, _) in enumerate(frames, start=1):
                times.append(time_s)
                job.progress("track", count, job.footage.frames)
            _some(job, len(times))
            return plan_frames(times, spec.references)
        assert tracker is not None, "a system that edits crops needs a tracker"
        tracks = follow(
            _spread(frames, clock),
            tracker,
            lambda done: job.progress("track", done, job.footage.frames),
        )
    _some(job, len(tracks))
    if not tracks.found.any():
        raise InputError(
            f"no face was found in any of the {len(tracks)} frames of {job.video}; "
            "give a video that shows a face from the front"
        )
    size = (job.info.width, job.info.height)
    plan = plan_crops(tracks, spec.crop, size, spec.references)
    if not plan.weight.any():
        why = ", ".join(sorted(set(plan.reasons)))
        raise InputError(
            f"no face in {job.video} can be edited ({why}); give a video that shows one larger "
            "and from the front"
        )
    return plan


def _some(job: Job, frames: int) -> None:
    """Damaged files may hold nothing of a part that they promise."""
    if not frames:
        raise InputError(
            f"{job.video} has no readable frame in the part that was asked for; "
            "choose another part or give a complete file"
        )


def _spread(
    frames: Iterable[tuple[float, np.ndarray]], clock: Clock
) -> Iterator[tuple[float, np.ndarray]]:
    """Passes frames on; the time until the next is asked for counts as tracking."""
    for item in frames:
        with clock.part("track"):
            yield item


def _references(job: Job, plan: Plan, predictor: Predictor) -> np.ndarray:
    """The reference frames' crops (or frames), (K, H, W, 3) uint8."""
    crop, views = predictor.spec.crop, []
    for index in plan.references:
        frame = job.footage.frame_at(float(plan.tracks.times_s[index]))
        if crop is None or plan.transforms is None:
            views.append(frame)
        else:
            views.append(warp(frame, plan.transforms[index], crop.size, crop.fill))
    side = (job.info.height, job.info.width) if crop is None else (crop.size, crop.size)
    return np.stack(views) if views else np.zeros((0, *side, 3), np.uint8)


def _heard(job: Job, plan: Plan) -> np.ndarray:
    """The new sound at 16 kHz, cut or padded to the video's length."""
    length = round((float(plan.tracks.times_s[-1]) + 1 / float(job.info.fps)) * SAMPLE_RATE)
    heard = job.sound[:length]  # padding nothing would copy it all
    return heard if len(heard) == length else np.pad(heard, (0, length - len(heard)))
