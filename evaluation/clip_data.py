"""ClipData: one clip's arrays from shards, its segments joined, its time split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.latents import unpacked
from core.media.shapes import mouth_box
from core.sample import FPS, Sample, time_split
from core.shards import Shards, read_samples
from evaluation.observer import Observer
from evaluation.runner import clean

logger = logging.getLogger(__name__)

FIELDS = (
    "crop",
    "landmarks",
    "mask",
    "lips_mask",
    "expression",
    "pose",
    "opening",
    "latent_source",
    "latent_masked",
    "speech",
    "viseme",
)
"""What a renderer may ask for; ``video`` and ``sound`` stay in the shard."""

LEAST_TRAIN = 2
LEAST_HELD_OUT = 1


@dataclass(frozen=True)
class ClipData:
    """All that a system or baseline may use of one clip. T frames; arrays cover the whole clip.

    A renderer gives crops of the frames ``held_out`` (N,) and may learn from ``train`` only; of a
    held-out frame it may use what the task gives: its masked crop or latent, pose and speech, and,
    when lips vectors are given, its expression.

    Attributes:
        name: what report keys start with. speaker: from the sample's info.
        arrays: by field name, first axis T; see ``core.sample.SCHEMA``.
        train, held_out: int64 indices into the arrays.
        truth_landmarks: (N,468,3) of the held-out truth, measured as outputs are.
        truth_opening: (N,) likewise: what is asked for.
        box: (4,) the clip's one mouth box, x0,y0,x1,y1.
        reference: index of the training frame that systems copy the person's looks from.
    """

    name: str
    speaker: str
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    train: np.ndarray
    held_out: np.ndarray
    truth_landmarks: np.ndarray
    truth_opening: np.ndarray
    box: np.ndarray
    reference: int

    def __getitem__(self, field: str) -> np.ndarray:
        return self.arrays[field]

    @property
    def truth(self) -> np.ndarray:
        """The held-out crops, (N,S,S,3) uint8."""
        return self.arrays["crop"][self.held_out]

    def limited(self, seconds: float) -> ClipData:
        """This clip with at most the first ``seconds`` of held-out time."""
        keep = slice(0, max(LEAST_HELD_OUT, int(seconds * FPS)))
        return replace(
            self,
            held_out=self.held_out[keep],
            truth_landmarks=self.truth_landmarks[keep],
            truth_opening=self.truth_opening[keep],
        )


def clip_box(landmarks: np.ndarray, size: int) -> np.ndarray:
    """One mouth box for a whole clip, (4,) int: all but the outermost 2 % of its frames' boxes.

    One box, so that every frame weighs the same and a pasted mouth fits everywhere.
    """
    boxes = np.array([mouth_box(points, size) for points in landmarks])
    low = np.floor(np.percentile(boxes[:, :2], 2, axis=0))
    high = np.ceil(np.percentile(boxes[:, 2:], 98, axis=0))
    return np.concatenate([low, high]).astype(int)


def _measured(
    crops: np.ndarray, sample: Sample, held: np.ndarray, observer: Observer | None
) -> Any:
    """Landmarks and opening of held-out frames, from the observer where it sees a face."""
    landmarks = np.asarray(sample["landmarks"][held], np.float32)
    gaps = np.asarray(sample["opening"][held], np.float32)
    if observer is None or not len(held):
        return landmarks, gaps
    seen = observer.crops(crops[held])
    found = seen.found
    return (
        np.where(found[:, None, None], seen.landmarks, landmarks),
        np.where(found, seen.opening, gaps),
    )


def join(samples: Sequence[Sample], observer: Observer | None = None) -> ClipData:
    """One clip from its segments.

    Args:
        samples: segments of one clip, any order.
        observer: measures the held-out truth the way outputs are measured, so that LMD and opening
            of the truth itself are perfect; without it the shard's own measures are the truth.

    Raises:
        InputError: the clip is too short to hold anything out.
    """
    samples = sorted(samples, key=lambda s: int(s["info"]["first_frame"]))
    info = samples[0]["info"]
    name = clip_name(samples[0])
    shared = [f for f in FIELDS if all(f in s for s in samples)]
    joined: Sample = {f: np.concatenate([np.asarray(s[f]) for s in samples]) for f in shared}
    joined.update({f: unpacked(joined[f]) for f in shared if f.startswith("latent_")})
    train, held, offset = [], [], 0
    for sample in samples:
        count = len(sample["crop"])
        early, late = time_split(sample["info"], count)
        train.append(early + offset)
        held.append(late + offset)
        offset += count
    train_at, held_at = np.concatenate(train), np.concatenate(held)
    if len(train_at) < LEAST_TRAIN or len(held_at) < LEAST_HELD_OUT:
        raise InputError(
            f"clip {name} has {len(train_at)} training and {len(held_at)} held-out frames: too "
            "short to be measured; use a longer clip"
        )
    landmarks, gaps = _measured(joined["crop"], joined, held_at, observer)
    return ClipData(
        name=name,
        speaker=str(info.get("speaker", name)),
        info=info,
        arrays=joined,
        train=train_at,
        held_out=held_at,
        truth_landmarks=landmarks,
        truth_opening=gaps,
        box=clip_box(joined["landmarks"], joined["crop"].shape[2]),
        reference=int(train_at[len(train_at) // 2]),
    )


def read_clips(
    shards: Shards,
    observer: Observer | None = None,
    select: Callable[[Mapping[str, Any]], bool] = lambda info: True,
    fields: Sequence[str] = FIELDS,
) -> Iterator[ClipData]:
    """Clips of a finished folder of shards, one in memory at a time.

    Segments of one clip (equal ``info["clip"]``) follow each other in the shards, as preprocessing
    writes them. A clip too short to hold anything out is passed over with a warning.

    Args:
        shards: folder with a manifest, or one and its sidecars.
        observer: see ``join``.
        select: looks at a sample's info and says whether the clip is wanted.
        fields: which fields to read.

    Raises:
        InputError: the folder is no finished set of shards.
    """
    waiting: list[Sample] = []
    for sample in read_samples(shards, fields):
        if not select(sample["info"]):
            continue
        if waiting and clip_of(waiting[0]) != clip_of(sample):
            yield from _long_enough(waiting, observer)
            waiting = []
        waiting.append(sample)
    yield from _long_enough(waiting, observer)


def _long_enough(samples: Sequence[Sample], observer: Observer | None) -> Iterator[ClipData]:
    try:
        if samples:
            yield join(samples, observer)
    except InputError as error:
        logger.warning("not measured: %s", error)


def clip_name(sample: Sample) -> str:
    """What report keys call a clip: its name, after its speaker's if that differs.

    The name is the fact ``name`` where the data set gives one, or the file's stem.
    """
    info = sample["info"]
    speaker = str(info.get("speaker", ""))
    stem = Path(str(info.get("source", sample["key"]))).stem
    stem = str(info.get("facts", {}).get("name", stem))
    return clean(stem if speaker in ("", stem) else f"{speaker}_{stem}")


def clip_of(sample: Sample) -> str:
    """The clip that a segment is a part of."""
    return str(sample["info"].get("clip", sample["key"]))
