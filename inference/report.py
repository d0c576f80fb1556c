"""What is said about a finished OUT: its tags and its report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoint import CheckpointRef
from core.contracts import Predictor
from core.media.tracks import others_of
from inference.engine import Clock
from inference.job import Job, Voice
from inference.plan import Plan, runs

GENERIC = (
    "Made with the generic nano checkpoint, trained on synthetic people only: the mouth follows "
    "the sound, but lips, teeth and sharpness are not this person's; 'flashlips personalise' on a "
    "clip of the person gives a clearly better one."
)


@dataclass(frozen=True)
class SyncReport:
    """What was done; written as JSON next to OUT (``report_path``).

    Attributes:
        output, video: paths. audio: what is heard, a path or several.
        frames: in OUT, as many as in VIDEO. edited: of these, by anybody's new mouth.
        untouched: runs of frames that passed through: ``first``, ``last``, ``start_s``, ``reason``.
        people: for each person: ``face`` and ``audio`` as asked for, ``edited`` and ``untouched``
            as above, ``references_s``, the times of the frames that show the predictor the person.
        width, height, fps: of both videos. duration_s: of OUT.
        sound_s: length of AUDIO; what OUT has more of is silent, what it has less of was cut.
        faces: the most faces seen at once.
        fps_by_part: frames a second of decode (both passes), track, edit, paste, encode.
        fps_overall: frames a second of everything.
        seed, crf: as given. encoder: of OUT.
        checkpoint: summary of the card; empty for a predictor without one.
        quality: one sentence for people.
        notes: what else a person should know.
        version: of the software.
    """

    output: str
    video: str
    audio: str | list[str]
    frames: int
    edited: int
    untouched: list[dict[str, object]]
    people: list[dict[str, Any]]
    width: int
    height: int
    fps: float
    duration_s: float
    sound_s: float
    faces: int
    fps_by_part: dict[str, float]
    fps_overall: float
    seed: int
    crf: int
    encoder: str
    checkpoint: dict[str, Any]
    quality: str
    notes: list[str]
    version: str


def report_path(out: Path) -> Path:
    """Where the report of OUT lies: ``name.mp4`` -> ``name.json``."""
    return out.with_suffix(".json")


def note() -> dict[str, str]:
    """Tags of OUT: that it was edited, by what and when."""
    day = datetime.now(UTC).date().isoformat()
    return {"comment": f"lip-sync edited by FlashLips house {version()} on {day}"}


def version() -> str:
    """Version of the installed software."""
    try:
        return importlib.metadata.version("flashlips-house")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def make_report(
    job: Job,
    plans: Sequence[Plan],
    predictor: Predictor,
    clock: Clock,
    seconds: float,
    encoder: str,
) -> SyncReport:
    """The report of a finished job.

    Args:
        job: what was asked for.
        plans: one for each voice.
        predictor: of the system.
        clock: time by part of the work.
        seconds: it took in all.
        encoder: of OUT.
    """
    info, fps, times_s = job.info, float(job.info.fps), plans[0].tracks.times_s
    card: CheckpointRef | None = getattr(predictor, "card", None)
    anybody = np.max([plan.weight for plan in plans], 0) > 0
    audio = [str(path) for path in job.audio]
    return SyncReport(
        output=str(job.out),
        video=str(job.video),
        audio=audio[0] if len(audio) == 1 else audio,
        frames=len(times_s),
        edited=int(anybody.sum()),
        untouched=runs(list(map(_why, zip(*(p.reasons for p in plans), strict=True))), times_s),
        people=[_person(plan, voice) for plan, voice in zip(plans, job.voices, strict=True)],
        width=info.width,
        height=info.height,
        fps=round(fps, 4),
        duration_s=round(float(times_s[-1]) + 1 / fps, 3),
        sound_s=round(job.sound_s, 3),
        faces=max(plan.tracks.faces for plan in plans),
        fps_by_part=clock.fps(),
        fps_overall=round(len(times_s) / seconds, 2),
        seed=job.seed,
        crf=job.coding.crf,
        encoder=encoder,
        checkpoint=_summary(card),
        quality=_quality(card, getattr(predictor, "generic", False)),
        notes=_notes(job, plans),
        version=version(),
    )


def _why(reasons: Sequence[str]) -> str:
    """Why a frame is untouched, of all people's reasons; "" when somebody is edited in it."""
    return ", ".join(dict.fromkeys(reasons)) if all(reasons) else ""


def _person(plan: Plan, voice: Voice) -> dict[str, Any]:
    """What the report says of one person."""
    return {
        "face": voice.face,
        "audio": str(voice.audio),
        "edited": int((plan.weight > 0).sum()),
        "untouched": plan.untouched(),
        "references_s": [round(float(plan.tracks.times_s[i]), 3) for i in plan.references],
    }


def _summary(card: CheckpointRef | None) -> dict[str, Any]:
    """What the report says of a checkpoint."""
    if card is None:
        return {}
    keep = ("uri", "system", "stage", "step", "recipe_sha", "crop", "codec", "data", "version")
    return {name: getattr(card, name) for name in keep} | {"notes": list(card.notes)}


def _quality(card: CheckpointRef | None, generic: bool) -> str:
    if generic:
        return GENERIC
    if card is None:
        return "Made with a predictor that has no checkpoint card: nothing is known of its quality."
    return (
        f"Made with {card.uri} ({card.system}, {card.stage}, step {card.step}): it is as good as "
        "the person and the words are like those it was trained on; its card holds its measures."
    )


def _notes(job: Job, plans: Sequence[Plan]) -> list[str]:
    """What a person should know beyond the numbers."""
    notes, fps, tracks = [], float(job.info.fps), plans[0].tracks
    asked = [voice.face for voice in job.voices]
    if tracks.faces > 1 and asked == ["largest"]:
        notes.append(f"up to {tracks.faces} faces were seen at once; the largest was edited")
    left = others_of(job.video)[1]
    if left:
        notes.append(f"not kept, because mp4 does not hold them: {', '.join(left)}")
    length, given = float(tracks.times_s[-1]) + 1 / fps, job.sound_s
    if given < length - 0.5 / fps:
        notes.append(f"the sound is {length - given:.2f} s shorter than the video: silent there")
    elif given > length + 0.5 / fps:
        notes.append(f"the last {given - length:.2f} s of the sound were cut: the video is shorter")
    return notes
