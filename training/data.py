"""Clips in memory, and the views of them that stages ask for.

A batch is a pure function of (seed, step, rank): nothing about the position in the data needs to be
kept for a run to resume exactly. Axes: T frames of a clip, B samples, K reference frames.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch

from core.contracts import BatchRequest, FramePair, Sequence60, Window
from core.errors import InputError
from training import variants

log = logging.getLogger(__name__)

Part = Literal["train", "held_out", "other_people"]


@dataclass(frozen=True)
class Timeline:
    """One clip's frames in a row, of all its segments that were kept.

    Attributes:
        clip, speaker: names from the sample's ``info``.
        arrays: per-frame fields, each (T, ...).
        train, held_out: (n,) frame indices of the two parts of its time.
        starts: (T,) index of the first frame that each frame follows without a gap.
    """

    clip: str
    speaker: str
    arrays: Mapping[str, np.ndarray]
    train: np.ndarray
    held_out: np.ndarray
    starts: np.ndarray

    @property
    def frames(self) -> int:
        """T."""
        return len(next(iter(self.arrays.values())))


class Samples(Protocol):
    """What the loop asks of its data; ``Data`` is the one for shards."""

    def parts(self) -> tuple[Part, ...]:
        """The measured parts that have samples."""

    def batch(
        self, request: BatchRequest, size: int, seed: int, step: int, rank: int = 0
    ) -> dict[str, Any]:
        """Training samples, a pure function of the arguments; holds ``speaker`` (B,)."""

    def held_out(
        self, part: Part, request: BatchRequest, samples: int, size: int
    ) -> Iterator[dict[str, Any]]:
        """Fixed batches of a measured part."""


class Data:
    """All clips of a folder of shards, split by time and by person, and batches of them.

    Args:
        clips: timelines of everybody.
        exclude_speakers: people nothing is trained on; they are part ``other_people``.
    """

    def __init__(self, clips: Sequence[Timeline], exclude_speakers: Sequence[str] = ()) -> None:
        self.speakers = tuple(sorted({c.speaker for c in clips}))
        unknown = set(exclude_speakers) - set(self.speakers)
        if unknown:
            log.warning("not in these shards, so not left out: %s", ", ".join(sorted(unknown)))
        ours = [c for c in clips if c.speaker not in exclude_speakers]
        others = [c for c in clips if c.speaker in exclude_speakers]
        self._parts: dict[Part, list[Timeline]] = {
            "train": [c for c in ours if len(c.train)],
            "held_out": [c for c in ours if len(c.held_out)],
            "other_people": [c for c in others if len(c.held_out)],
        }
        if not self._parts["train"]:
            raise InputError(
                "the shards hold no training frames of people who are in splits and not in "
                "exclude_speakers; "
                "give longer clips or leave out fewer people"
            )
        frames = np.array([len(c.train) for c in self._parts["train"]], dtype=np.float64)
        self._chance = frames / frames.sum()

    def parts(self) -> tuple[Part, ...]:
        """The measured parts that have clips."""
        measured: tuple[Part, ...] = ("held_out", "other_people")
        return tuple(p for p in measured if self._parts[p])

    def batch(
        self, request: BatchRequest, size: int, seed: int, step: int, rank: int = 0
    ) -> dict[str, Any]:
        """Training samples of one step for one worker; equal arguments give equal batches.

        Clips are drawn by their number of training frames.
        """
        rng = np.random.default_rng([seed, step, rank])
        clips = self._parts["train"]
        picks = [clips[i] for i in rng.choice(len(clips), size, p=self._chance)]
        rows = []
        for clip in picks:
            at = rng.choice(_anchors(clip, clip.train, request.view))
            rows.append(_row(clip, clip.train, int(at), request, rng, augment=True))
        return self._collate(rows, picks, request)

    def held_out(
        self, part: Part, request: BatchRequest, samples: int, size: int
    ) -> Iterator[dict[str, Any]]:
        """Fixed batches of held-out time: clips in turn, moments spread evenly over each.

        Only ``batch["target"]`` frames are held out; reference frames come from the first part of
        the same clip, as at inference, so that no measured mouth is ever shown to the net.
        """
        assert part != "train", "nothing is measured on training time"
        clips = self._parts[part]
        counts = np.bincount(np.arange(samples) % len(clips), minlength=len(clips))
        plan = []
        for clip, count in zip(clips, counts, strict=True):
            anchors = _anchors(clip, clip.held_out, request.view)
            spread = np.unique(np.linspace(0, len(anchors) - 1, int(count)).round().astype(int))
            plan += [(clip, int(anchors[i])) for i in spread]
        rng = np.random.default_rng([len(plan), samples])
        order = rng.permutation(len(plan))  # objectives that mix a batch should meet several people
        for start in range(0, len(plan), size):
            chosen = [plan[i] for i in order[start : start + size]]
            rows = [_row(clip, clip.held_out, at, request, rng) for clip, at in chosen]
            yield self._collate(rows, [clip for clip, _ in chosen], request)

    def _collate(
        self, rows: list[dict[str, np.ndarray]], picks: list[Timeline], request: BatchRequest
    ) -> dict[str, Any]:
        batch: dict[str, Any] = {key: _tensor(np.stack([r[key] for r in rows])) for key in rows[0]}
        batch["speaker"] = torch.tensor([self.speakers.index(c.speaker) for c in picks])
        if request.extras:
            batch["extras"] = dict(request.extras)
        return batch


def _tensor(array: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _anchors(clip: Timeline, part: np.ndarray, view: Any) -> np.ndarray:
    """Frames at which a sample may stand: the source frame, or the last frame of a window.

    A training window lies wholly in training time. The new frames of a held-out window lie in
    held-out time, its history may reach before it. Where a part is too short for that, one window
    ending with the part is what there is: its ``target`` says which frames count.
    """
    if isinstance(view, FramePair):
        return part
    whole = view.frames if part is clip.train else view.frames - view.past
    fits = part[part - np.maximum(clip.starts[part], part[0]) >= whole - 1]
    return fits if len(fits) else part[-1:]


def _row(
    clip: Timeline,
    part: np.ndarray,
    at: int,
    request: BatchRequest,
    rng: np.random.Generator,
    augment: bool = False,
) -> dict[str, np.ndarray]:
    missing = [f for f in request.fields if f not in clip.arrays]
    assert not missing, f"asked for {missing}, in memory are {sorted(clip.arrays)}"
    if isinstance(request.view, FramePair):
        return _pair(clip, part, at, request, rng, augment)
    assert isinstance(request.view, Sequence60 | Window), f"unknown view {request.view}"
    return _window(clip, part, at, request, rng)


def _pair(
    clip: Timeline,
    part: np.ndarray,
    at: int,
    request: BatchRequest,
    rng: np.random.Generator,
    augment: bool,
) -> dict[str, np.ndarray]:
    assert isinstance(request.view, FramePair)
    known = clip.train if len(clip.train) else part
    reference = rng.choice(_away(known, at, request.view.min_gap))
    other = rng.choice(_away(part, at, request.view.min_gap))
    variant = variants.draw(clip.arrays, request.fields, rng) if augment else None
    row = {}
    for name in request.fields:
        row[name] = variants.value(clip.arrays, name, at, variant)
        row[f"{name}_reference"] = variants.value(clip.arrays, name, reference, variant)
        row[f"{name}_other"] = variants.value(clip.arrays, name, other, variant)
    return row


def _away(frames: np.ndarray, at: int, gap: int) -> np.ndarray:
    """Those of ``frames`` more than ``gap`` from ``at``; all of them when there are none."""
    far = frames[np.abs(frames - at) > gap]
    return far if len(far) else frames


def _window(
    clip: Timeline, part: np.ndarray, at: int, request: BatchRequest, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Frames ``at - frames + 1 .. at``; a frame stands for those before it that are missing."""
    view = request.view
    assert isinstance(view, Sequence60 | Window)
    wanted = np.arange(at - view.frames + 1, at + 1)
    index = np.maximum(wanted, clip.starts[at])
    known = clip.train if len(clip.train) else part
    outside = known[(known < wanted[0]) | (known > at)]
    pool = outside if len(outside) >= view.references else known
    references = rng.choice(pool, view.references, replace=len(pool) < view.references)
    row = {"target": np.isin(index, part) & (wanted >= clip.starts[at])}
    for name in request.fields:
        row[name] = variants.value(clip.arrays, name, index, None)
        row[f"{name}_reference"] = variants.value(clip.arrays, name, references, None)
    return row
