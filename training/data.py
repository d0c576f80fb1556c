"""Shards in memory, and the views of them that stages ask for.

A batch is a pure function of (seed, step, rank): nothing about the position in the data needs to be
kept for a run to resume exactly. Axes: T frames of a clip, B samples, K reference frames.
"""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, FramePair, Sequence60
from core.errors import InputError
from core.sample import Sample, time_split
from core.shards import read_manifest, read_samples

log = logging.getLogger(__name__)

Part = Literal["train", "held_out", "other_people"]
Derive = Callable[[Sample], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Timeline:
    """One clip's frames in a row; segments that follow one another are joined.

    Attributes:
        clip, speaker: names from the sample's ``info``.
        arrays: per-frame fields, each (T, ...).
        train, held_out: (n,) frame indices of the two parts of its time.
    """

    clip: str
    speaker: str
    arrays: Mapping[str, np.ndarray]
    train: np.ndarray
    held_out: np.ndarray

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
                "the shards hold no training frames of people who are not in exclude_speakers; "
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
            rows.append(_row(clip, clip.train, int(at), request, rng))
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
    fits = part[part >= part[0] + whole - 1]
    return fits if len(fits) else part[-1:]


def _row(
    clip: Timeline, part: np.ndarray, at: int, request: BatchRequest, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    missing = [f for f in request.fields if f not in clip.arrays]
    assert not missing, f"asked for {missing}, in memory are {sorted(clip.arrays)}"
    if isinstance(request.view, FramePair):
        return _pair(clip, part, at, request, rng)
    assert isinstance(request.view, Sequence60), f"unknown view {request.view}"
    return _window(clip, part, at, request, rng)


def _pair(
    clip: Timeline, part: np.ndarray, at: int, request: BatchRequest, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    assert isinstance(request.view, FramePair)
    known = clip.train if len(clip.train) else part
    reference = rng.choice(_away(known, at, request.view.min_gap))
    other = rng.choice(_away(part, at, request.view.min_gap))
    row = {}
    for name in request.fields:
        array = clip.arrays[name]
        row[name] = array[at]
        row[f"{name}_reference"] = array[reference]
        row[f"{name}_other"] = array[other]
    return row


def _away(frames: np.ndarray, at: int, gap: int) -> np.ndarray:
    """Those of ``frames`` more than ``gap`` from ``at``; all of them when there are none."""
    far = frames[np.abs(frames - at) > gap]
    return far if len(far) else frames


def _window(
    clip: Timeline, part: np.ndarray, at: int, request: BatchRequest, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Frames ``at - frames + 1 .. at``; before the clip's first frame that frame is repeated."""
    view = request.view
    assert isinstance(view, Sequence60)
    wanted = np.arange(at - view.frames + 1, at + 1)
    index = np.maximum(wanted, 0)
    known = clip.train if len(clip.train) else part
    outside = known[(known < wanted[0]) | (known > at)]
    pool = outside if len(outside) >= view.references else known
    references = rng.choice(pool, view.references, replace=len(pool) < view.references)
    row = {"target": np.isin(index, part) & (wanted >= 0)}
    for name in request.fields:
        array = clip.arrays[name]
        row[name] = array[index]
        row[f"{name}_reference"] = array[references]
    return row


# -- reading ----------------------------------------------------------------------------------


def load(
    folder: Path,
    needs: Sequence[str],
    exclude_speakers: Sequence[str] = (),
    derive: Derive | None = None,
    keep: Sequence[str] | None = None,
) -> Data:
    """Reads shards into memory, once.

    Args:
        folder: shards with their manifest.
        needs: sample fields to read.
        exclude_speakers: people to leave out of training.
        derive: computes further per-frame fields of a sample, each (T, ...).
        keep: fields that batches will ask for; the others are let go after ``derive``. None keeps
            every per-frame field.

    Raises:
        InputError: a field is missing, a shard is damaged, or nothing is left to train on.
    """
    clips: list[Timeline] = []
    segments: list[tuple[Sample, Mapping[str, np.ndarray]]] = []
    for sample in read_samples(folder, needs):
        arrays = _per_frame(sample, needs, folder)
        if derive is not None:
            arrays = {**arrays, **derive(sample)}
        if keep is not None:
            arrays = {name: arrays[name] for name in keep}
        if segments and not _follows(segments[-1], sample):
            clips.append(_join(segments))
            segments = []
        segments.append((_bare(sample), arrays))
    if segments:
        clips.append(_join(segments))
    return Data(clips, exclude_speakers)


def _bare(sample: Sample) -> Sample:
    """The sample without its large fields."""
    return {"key": sample["key"], "info": sample["info"]}


def _per_frame(sample: Sample, needs: Sequence[str], folder: Path) -> dict[str, np.ndarray]:
    missing = [name for name in needs if name not in sample]
    if missing:
        raise InputError(
            f"sample {sample['key']} in {folder} has no {', '.join(missing)}: "
            "preprocess again with a recipe that adds it"
        )
    arrays = {n: v for n, v in sample.items() if isinstance(v, np.ndarray) and n in needs}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"sample {sample['key']} in {folder} has fields of unequal length ({lengths}): "
            "preprocess again"
        )
    return arrays


def _clip_name(sample: Sample) -> str:
    info = sample["info"]
    return str(info.get("clip_id", info.get("clip", sample["key"])))


def _follows(last: tuple[Sample, Mapping[str, np.ndarray]], sample: Sample) -> bool:
    before, arrays = last
    frames = len(next(iter(arrays.values())))
    same = _clip_name(before) == _clip_name(sample)
    return same and before["info"]["first_frame"] + frames == sample["info"]["first_frame"]


def _join(segments: Sequence[tuple[Sample, Mapping[str, np.ndarray]]]) -> Timeline:
    """One timeline of segments that follow one another."""
    train, held_out, start = [], [], 0
    for sample, arrays in segments:
        frames = len(next(iter(arrays.values())))
        early, late = time_split(sample["info"], frames)
        train.append(early + start)
        held_out.append(late + start)
        start += frames
    first = segments[0][0]
    names = segments[0][1].keys()
    joined = {
        n: segments[0][1][n] if len(segments) == 1 else np.concatenate([a[n] for _, a in segments])
        for n in names
    }
    speaker = str(first["info"].get("speaker") or _clip_name(first))
    return Timeline(
        _clip_name(first), speaker, joined, np.concatenate(train), np.concatenate(held_out)
    )


# -- checks, in the driver, before anything starts ----------------------------------------------


def check_shards(
    folder: Path, needs: Sequence[str], parents: Mapping[str, CheckpointRef]
) -> dict[str, Any]:
    """Checks that shards hold what a stage needs and were made as its parents' were.

    Returns:
        The manifest's ``origin``.

    Raises:
        InputError: a sample lacks a field, or crop or codec differ from a parent's.
    """
    manifest = read_manifest(folder)
    for shard in manifest.shards:
        path = folder / shard.name
        try:
            with tarfile.open(path, "r:") as tar:
                names = {tuple(member.name.split(".")[:2]) for member in tar}
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(f"can't read shard {path}: {error}; preprocess again") from error
        for key in shard.keys:
            missing = [name for name in needs if (key, name) not in names]
            if missing:
                raise InputError(
                    f"sample {key} in {path} has no {', '.join(missing)}: "
                    "preprocess again with a recipe that adds it"
                )
    if not any(shard.keys for shard in manifest.shards):
        raise InputError(f"{folder} holds no samples; its ledger says why clips were dropped")
    for stage, parent in parents.items():
        for name in ("crop", "codec"):
            ours, theirs = str(manifest.origin.get(name, "")), getattr(parent, name)
            if theirs and ours != theirs:
                raise InputError(
                    f"{folder} was made with {name} {ours or 'none'} but {stage} ({parent.uri}) "
                    f"was trained with {theirs}: preprocess again with that {name}"
                )
    return dict(manifest.origin)
