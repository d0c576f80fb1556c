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
from core.media.audio import read_sound
from core.media.crop import warp
from core.media.video import VideoWriter, read_frames
from core.sample import SAMPLE_RATE
from core.weights import Store
from inference.ahead import ahead
from inference.engine import Clock, edit_frames
from inference.job import Job, Progress, check_job
from inference.plan import Plan, plan_crops, plan_frames
from inference.report import SyncReport, make_report, note, report_path
from inference.tracks import Patient, Tracker, follow

AHEAD = 8
"""Frames that decoding and editing may be ahead; each costs a frame of memory."""
OUT_RATE = 48_000
"""Sound in OUT; the predictor hears 16 kHz."""


def sync(
    video: Path,
    audio: Path,
    out: Path,
    predictor: Predictor,
    store: Store,
    *,
    crf: int = 18,
    seed: int = 0,
    progress: Progress | None = None,
) -> SyncReport:
    """Makes the person in VIDEO say AUDIO.

    As many frames out as in, same size and rate; frames without a usable face pass through; sound
    replaced by AUDIO, cut or padded with silence to the video's length.

    Args:
        video: any video file.
        audio: any file with sound.
        out: the .mp4 to write; its report lies beside it. Both appear whole or not at all.
        predictor: from ``inference.load``, or anything that keeps the contract.
        store: weights of the face tracker (unused by systems that edit whole frames).
        crf: x264's quality, 0 to 51, lower is better.
        seed: of everything drawn by chance; equal seeds give equal bytes on the same day.
        progress: told how far it is.

    Raises:
        InputError: something given can't be used; nothing was written.
    """
    tracker: Tracker | None = None
    job = check_job(video, audio, out, crf, seed, progress)
    if predictor.spec.crop is not None:
        from models.experts.face import FaceMesh  # slow to import, and not every system needs it

        tracker = Patient(FaceMesh(store))
    return run(job, predictor, tracker)


def run(job: Job, predictor: Predictor, tracker: Tracker | None) -> SyncReport:
    """The two passes; ``tracker`` is None for systems that edit whole frames."""
    clock, begin = Clock(), time.perf_counter()
    plan = _first_pass(job, predictor, tracker, clock)
    session = predictor.prepare(_references(job, plan, predictor), _heard(job, plan), job.seed)
    count = 0
    with _writer(job) as writer, _edited(job, plan, session, predictor.spec, clock) as frames:
        for count, frame in enumerate(frames, start=1):
            with clock.part("encode"):
                writer.write(frame)
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
    """The writer of OUT."""
    sound, info = read_sound(job.audio, OUT_RATE), job.info
    size = info.width, info.height
    writer = VideoWriter(job.out, *size, info.fps, sound, OUT_RATE, job.crf, note())
    writer.threads = 0
    return writer


@contextmanager
def _edited(
    job: Job, plan: Plan, session: Session, spec: PredictorSpec, clock: Clock
) -> Iterator[Iterator[np.ndarray]]:
    """The edited frames, while decoding and editing run ahead in threads of their own."""
    fps = float(job.info.fps)
    with closing(ahead(job.frames(clock), AHEAD)) as decoded:
        # OUT shows its frames at a constant rate: the mouth must fit the moment a frame is shown.
        frames = ((index / fps, frame) for index, (_, frame) in enumerate(decoded))
        with closing(ahead(edit_frames(frames, plan, session, spec, clock), AHEAD)) as done:
            yield done


def _first_pass(job: Job, predictor: Predictor, tracker: Tracker | None, clock: Clock) -> Plan:
    """Reads the whole video once; raises InputError when there is nobody in it."""
    spec = predictor.spec
    with closing(ahead(job.frames(clock), AHEAD)) as frames:
        if spec.crop is None:
            times = []
            for count, (time_s, _) in enumerate(frames, start=1):
                times.append(time_s)
                job.progress("track", count, job.info.frames)
            return plan_frames(times, spec.references)
        assert tracker is not None, "a system that edits crops needs a tracker"
        tracks = follow(
            _spread(frames, clock),
            tracker,
            lambda done: job.progress("track", done, job.info.frames),
        )
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
        frame = _frame_at(job, float(plan.tracks.times_s[index]), index)
        if crop is None or plan.transforms is None:
            views.append(frame)
        else:
            views.append(warp(frame, plan.transforms[index], crop.size, crop.fill))
    side = (job.info.height, job.info.width) if crop is None else (crop.size, crop.size)
    return np.stack(views) if views else np.zeros((0, *side, 3), np.uint8)


def _frame_at(job: Job, time_s: float, index: int) -> np.ndarray:
    """One frame of the video, by its time; by counting where the file can't be searched."""
    half = 0.5 / float(job.info.fps)
    near = list(read_frames(job.video, time_s, time_s + 2 * half))
    best = min(near, key=lambda item: abs(item[0] - time_s), default=None)
    if best is not None and abs(best[0] - time_s) < half:
        return best[1]
    return next(frame for i, (_, frame) in enumerate(read_frames(job.video)) if i == index)


def _heard(job: Job, plan: Plan) -> np.ndarray:
    """The new sound at 16 kHz, cut or padded to the video's length."""
    length = round(len(plan) / float(job.info.fps) * SAMPLE_RATE)
    return np.pad(job.sound[:length], (0, max(0, length - len(job.sound))))
