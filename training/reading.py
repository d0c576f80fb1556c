"""Shards into memory, or mapped into it; and what is checked of them before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoint import CheckpointRef
from core.errors import InputError
from core.sample import SCHEMA, Sample, time_split
from core.shards import Shards, field_names, read_manifest, read_samples, spoken
from core.split import split_of
from training import variants
from training.data import Data, Timeline
from training.frame_cache import FrameCache

HEARD = frozenset({"speech", "sound"})
"""Fields that are silence in a sample marked ``stage1_only``."""

Derive = Callable[[Sample], Mapping[str, np.ndarray]]
Segment = tuple[Mapping[str, Any], Mapping[str, np.ndarray], str]
"""A sample's ``info``, its per-frame arrays, its key."""


def load(
    folder: Shards,
    needs: Sequence[str],
    exclude_speakers: Sequence[str] = (),
    derive: Derive | None = None,
    keep: Sequence[str] | None = None,
    splits: Sequence[str] = (),
    cache: Path | None = None,
) -> Data:
    """Reads shards into memory, once; with a ``cache``, maps what it unpacks there.

    Args:
        folder: shards with their manifest, or such a set followed by its sidecars.
        needs: sample fields to read.
        exclude_speakers: people to leave out of training.
        derive: computes further per-frame fields of a sample, each (T, ...).
        keep: fields that batches will ask for; the others are let go after ``derive``. None keeps
            every per-frame field. Variants of kept latents are kept with them.
        splits: whose data to train on, see ``TrainRecipe``; empty is everybody.
        cache: folder of frame caches, for data larger than memory or read by many; None reads all
            into memory.

    A field that holds one value for a whole segment is repeated for each of its frames. Samples
    without usable sound (``stage1_only``) are passed over when a need is heard.

    Raises:
        InputError: a field is missing, a shard is damaged, or nothing is left to train on.
    """
    clips: dict[str, list[Segment]] = {}
    apart = set(exclude_speakers)
    extra = variants.optional(needs if keep is None else keep)
    frames = None if cache is None else FrameCache(folder, needs, cache)
    for sample in read_samples(folder, (*needs, *extra) if frames is None else extra):
        info = sample["info"]
        split = split_of(str(info["speaker"]))
        strange = bool(splits) and split not in splits
        if (strange and split != "val") or (HEARD & set(needs) and info.get("stage1_only", False)):
            continue
        if strange:
            apart.add(str(info["speaker"]))
        if frames is not None:
            sample = {**sample, **frames.sample(sample["key"])}
        arrays: Mapping[str, np.ndarray] = _per_frame(sample, needs, folder, extra)
        if derive is not None:
            arrays = {**arrays, **derive(sample)}
        if keep is not None:
            arrays = {name: arrays[name] for name in (*keep, *(e for e in extra if e in arrays))}
        # Shards come in no order of time: segments of a clip may lie anywhere.
        clips.setdefault(str(sample["info"]["clip"]), []).append(
            (sample["info"], arrays, sample["key"])
        )
    # Each clip's segments are let go once joined: only one clip is in memory twice.
    if not clips:
        raise InputError(
            f"{spoken(folder)} holds no sample for this stage: all have no usable sound "
            f"(stage1_only) or are of people outside splits {list(splits)}; preprocess other clips"
        )
    return Data([_join(name, clips.pop(name), frames) for name in list(clips)], sorted(apart))


def _per_frame(
    sample: Sample, needs: Sequence[str], folder: Shards, extra: Sequence[str]
) -> dict[str, np.ndarray]:
    missing = [name for name in needs if name not in sample]
    if missing:
        raise InputError(
            f"sample {sample['key']} in {spoken(folder)} has no {', '.join(missing)}: "
            "preprocess again with a recipe that adds it"
        )
    wanted = {*needs, *extra}
    arrays = {n: v for n, v in sample.items() if isinstance(v, np.ndarray) and n in wanted}
    whole = [name for name in arrays if name in SCHEMA and not SCHEMA[name].shape.startswith("T")]
    lengths = {name: len(array) for name, array in arrays.items() if name not in whole}
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"sample {sample['key']} in {spoken(folder)} has fields of unequal length ({lengths}): "
            "preprocess again"
        )
    for name in whole:
        frames = next(iter(lengths.values()), 1)
        arrays[name] = np.broadcast_to(arrays[name], (frames, *arrays[name].shape))
    return arrays


def _join(clip: str, segments: list[Segment], cached: FrameCache | None) -> Timeline:
    """One timeline of a clip's segments, in order of time."""
    segments.sort(key=lambda s: int(s[0]["first_frame"]))
    train: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    at, expected = 0, -1
    for info, arrays, _ in segments:
        frames = len(next(iter(arrays.values())))
        early, late = time_split(info, frames)
        train.append(early + at)
        held_out.append(late + at)
        follows = info["first_frame"] == expected
        starts.append(np.full(frames, starts[-1][-1] if follows else at))
        at, expected = at + frames, info["first_frame"] + frames
    first, arrays, key = segments[0]
    if len(segments) > 1:
        whole = {} if cached is None else cached.between(key, segments[-1][2])
        arrays = {
            name: whole[name]
            if name in whole
            else np.concatenate([each[name] for _, each, _ in segments])
            for name in arrays
        }
    return Timeline(
        clip,
        str(first["speaker"]),
        arrays,
        np.concatenate(train),
        np.concatenate(held_out),
        np.concatenate(starts),
    )


def check_shards(
    folder: Shards, needs: Sequence[str], parents: Mapping[str, CheckpointRef]
) -> dict[str, Any]:
    """Checks that shards hold what a stage needs and were made as its parents' were.

    Returns:
        The manifest's ``origin``.

    Raises:
        InputError: a sample lacks a field, or crop or codec differ from a parent's.
    """
    manifest = read_manifest(folder)
    empty = True
    for key, names, path in field_names(folder):
        empty = False
        missing = [name for name in needs if name not in names]
        if missing:
            raise InputError(
                f"sample {key} in {path} has no {', '.join(missing)}: "
                "preprocess again with a recipe that adds it"
            )
    if empty:
        raise InputError(
            f"{spoken(folder)} holds no samples; its ledger says why clips were dropped"
        )
    for stage, parent in parents.items():
        for name in ("crop", "codec"):
            ours, theirs = str(manifest.origin.get(name, "")), getattr(parent, name)
            if theirs and ours != theirs:
                raise InputError(
                    f"{spoken(folder)} was made with {name} {ours or 'none'} but {stage} "
                    f"({parent.uri}) was trained with {theirs}: preprocess again with that {name}"
                )
    return dict(manifest.origin)
