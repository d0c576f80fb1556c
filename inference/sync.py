"""A video, a sound, a predictor -> the video saying the sound. Two passes, constant memory.

This is the one place where OUT is finished: its note that it was edited, and its report.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.ahead import ahead
from core.contracts import Predictor, PredictorSpec, Session
from core.errors import InputError
from core.files import write_json
from core.media.audio import Fitted, Sound
from core.media.crop import CropSpec, warp
from core.media.tracks import others_of, sound_of
from core.media.video import Image, VideoWriter
from core.sample import SAMPLE_RATE
from core.weights import Store
from inference.engine import Clock, edit_frames
from inference.footage import Span
from inference.job import Coding, Job, Progress, Voice, check_job
from inference.plan import Plan, plan_crops, plan_frames
from inference.report import SyncReport, make_report, note, report_path
from inference.tracks import Patient, Tracker, Tracks, follow

AHEAD = 8
"""Frames that decoding and editing may be ahead; each costs a frame of memory."""


def sync(  # noqa: PLR0913 - one keyword a choice of the person
    video: Path,
    audio: Path | None,
    out: Path,
    predictor: Predictor,
    store: Store,
    *,
    coding: Coding | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    span: Span | None = None,
    face: str = "largest",
    voices: Sequence[tuple[str, Path]] = (),
) -> SyncReport:
    """Makes the person in VIDEO say AUDIO.

    As many frames out as in, of the same size, at the same times; frames without a usable face
    pass through. AUDIO replaces VIDEO's first sound and is cut to OUT's length; it is copied where
    mp4 holds its codec. VIDEO's other tracks are kept where mp4 holds them.

    Args:
        video: any video file.
        audio: any file with sound; None where ``voices`` are all that is heard.
        out: the .mp4 to write; its report lies beside it. Both appear whole or not at all.
        predictor: from ``inference.load``, or anything that keeps the contract.
        store: weights of the face tracker (unused by systems that edit whole frames).
        coding: how OUT is encoded; None is x264 at crf 18.
        seed: of everything drawn by chance; equal seeds give equal bytes on the same day.
        progress: told how far it is.
        span: which part of VIDEO, and how long OUT is; None is all of it.
        face: whose mouth: ``largest`` (whoever that is), ``left``, ``right``, a number of
            ``inference.people.find_people``, or a picture of the person.
        voices: instead of ``face``: (whose mouth, the sound it says) for each person.

    Raises:
        InputError: something given can't be used; nothing was written.
    """
    wanted = voices or ((face, None),)
    job = check_job(video, audio, out, coding or Coding(), seed, progress, span, wanted)
    if predictor.spec.crop is None:
        if len(job.voices) > 1:
            raise InputError("this system edits whole frames: it takes one sound, not one a face")
        return run(job, predictor)
    return run(job, predictor, *map(Patient, _trackers(job, store)))


def _trackers(job: Job, store: Store) -> list[Tracker]:
    """What follows the wanted faces; slow to import, and not every system needs it."""
    from models.experts.face import FaceMesh

    if [voice.face for voice in job.voices] == ["largest"]:
        return [FaceMesh(store)]
    from inference.people import Picked, choose, find_people
    from models.experts.identity import Identity

    net = Identity(store)
    who = net if net.available else None
    people = find_people(job.footage, FaceMesh(store), who)
    chosen = [choose(people, voice.face, store, who) for voice in job.voices]
    if len({id(person) for person in chosen}) < len(chosen):
        names = " and ".join(voice.face for voice in job.voices)
        raise InputError(f"--face {names} mean the same person; give each person one sound")
    return [Picked(store, person, who) for person in chosen]


def run(job: Job, predictor: Predictor, *trackers: Tracker) -> SyncReport:
    """The two passes.

    Args:
        job: what was asked for.
        predictor: of the system.
        trackers: one for each voice; none for systems that edit whole frames.
    """
    clock, begin = Clock(), time.perf_counter()
    plans = _first_pass(job, predictor, trackers, clock)
    sessions = [
        predictor.prepare(_references(job, plan, predictor), _heard(job, plan, voice), job.seed)
        for plan, voice in zip(plans, job.voices, strict=True)
    ]
    count, times_s = 0, plans[0].tracks.times_s
    edits = list(zip(plans, sessions, strict=True))
    with _writer(job) as writer, _edited(job, edits, predictor.spec, clock) as frames:
        for count, frame in enumerate(frames, start=1):
            with clock.part("encode"):
                writer.write(frame, float(times_s[count - 1]))
            job.progress("edit", count, len(times_s))
        if count != len(times_s):
            raise InputError(
                f"{job.video} gave {len(times_s)} frames when first read and {count} the second "
                "time; don't change the file while it is read"
            )
    seconds = time.perf_counter() - begin
    report = make_report(job, plans, predictor, clock, seconds, writer.encoder)
    write_json(report_path(job.out), asdict(report))
    return report


def _writer(job: Job) -> VideoWriter:
    """The writer of OUT, on VIDEO's own clock."""
    info = job.info
    size = info.width * (1 + job.beside), info.height
    writer = VideoWriter(job.out, *size, info.fps, crf=job.coding.crf, metadata=note())
    writer.encoder, writer.preset = job.coding.encoder, job.coding.preset
    writer.threads, writer.time_base = 0, job.footage.time_base
    writer.colours, writer.pixel_aspect = info.colours, info.pixel_aspect
    writer.tracks = (sound_of(*job.audio), *others_of(job.video, job.footage.start_s)[0])
    return writer


@contextmanager
def _edited(
    job: Job, edits: Sequence[tuple[Plan, Session]], spec: PredictorSpec, clock: Clock
) -> Iterator[Iterator[Image]]:
    """The edited frames, while decoding and editing run ahead in threads of their own."""
    with closing(ahead(job.frames(clock), AHEAD)) as decoded:
        edited: Iterator[tuple[float, Image]] = decoded
        for plan, session in edits:
            edited = edit_frames(edited, plan, session, spec, clock)
        with closing(ahead(edited, AHEAD)) as done:
            frames = (frame for _, frame in done)
            yield _beside(job, frames) if job.beside else frames


def _beside(job: Job, edited: Iterator[Image]) -> Iterator[np.ndarray]:
    """Each frame as it was, on the left, and as it is."""
    for (_, was), now in zip(job.footage, edited, strict=False):
        yield np.hstack([np.asarray(was), np.asarray(now)])


def _first_pass(
    job: Job, predictor: Predictor, trackers: Sequence[Tracker], clock: Clock
) -> list[Plan]:
    """Reads the whole video once; raises InputError when a wanted face is nowhere in it."""
    crop, references = predictor.spec.crop, predictor.spec.references
    with closing(ahead(job.frames(clock), AHEAD)) as frames:
        if crop is None:
            times = []
            for count, (time_s, _) in enumerate(frames, start=1):
                times.append(time_s)
                job.progress("track", count, job.footage.frames)
            _some(job, len(times))
            return [plan_frames(times, references)]
        assert len(trackers) == len(job.voices), "a system that edits crops needs trackers"
        found = follow(
            _spread(frames, clock),
            trackers,
            lambda done: job.progress("track", done, job.footage.frames),
        )
    _some(job, len(found[0]))
    return [
        _planned(job, tracks, crop, references, voice)
        for tracks, voice in zip(found, job.voices, strict=True)
    ]


def _planned(job: Job, tracks: Tracks, crop: CropSpec, references: int, voice: Voice) -> Plan:
    """One person's plan; raises InputError when they can't be edited anywhere."""
    whose = "face" if len(job.voices) == 1 else f"face of --face {voice.face}"
    if not tracks.found.any():
        raise InputError(
            f"no {whose} was found in any of the {len(tracks)} frames of {job.video}; "
            "give a video that shows a face from the front"
        )
    plan = plan_crops(tracks, crop, (job.info.width, job.info.height), references)
    if not plan.weight.any():
        why = ", ".join(sorted(set(plan.reasons)))
        raise InputError(
            f"no {whose} in {job.video} can be edited ({why}); give a video that shows one larger "
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


def _spread(frames: Iterable[tuple[float, Image]], clock: Clock) -> Iterator[tuple[float, Image]]:
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
            views.append(np.asarray(frame))
        else:
            views.append(warp(frame, plan.transforms[index], crop.size, crop.fill))
    side = (job.info.height, job.info.width) if crop is None else (crop.size, crop.size)
    return np.stack(views) if views else np.zeros((0, *side, 3), np.uint8)


def _heard(job: Job, plan: Plan, voice: Voice) -> Sound:
    """The new sound at 16 kHz, cut or padded to the video's length."""
    length = round((float(plan.tracks.times_s[-1]) + 1 / float(job.info.fps)) * SAMPLE_RATE)
    return Fitted(voice.sound, length)
