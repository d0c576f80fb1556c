"""Finished segments to disk: first one small tar each, then shards of a target size.

The small tars are what a killed run finds again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.clip import Clip
from core.errors import InputError
from core.files import read_json, write_json
from core.sample import FPS, SCHEMA, Sample
from core.shards import ShardFile, read_shard, write_shard
from core.split import split_of
from core.storage import Place, names, size
from preprocessing.plan import Work

SHARDS = "shards"
"""Folder of the notes about finished shards, beside the small tars."""

POINTERS = ("viseme_json", "sound_file")
"""Facts that name files on this machine; they stay out of the samples."""


def printable(text: str) -> str:
    """A path as text that any file can hold: undecodable bytes are written as escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def sample(clip: Clip, of: str) -> Sample:
    """A clip's training sample.

    Args:
        clip: finished, not dropped.
        of: id of the clip that it is a segment of.
    """
    facts = {k: v for k, v in clip.facts.items() if k not in POINTERS}
    info: dict[str, Any] = {
        "clip": str(facts.get("shot", of)),  # after a cut, the shot is the clip
        "source": printable(Path(clip.source).name),
        "speaker": clip.speaker,
        "split": split_of(clip.speaker),
        "first_frame": int(facts["first_frame"]),
        "clip_frames": int(facts["clip_frames"]),
        "fps": FPS,
        "facts": facts,
    }
    if facts.get("stage1_only", False):
        info["stage1_only"] = True
    fields = {name: value for name, value in clip.fields.items() if name in SCHEMA}
    return {"key": clip.id, "info": info, **fields}


def keep(work: Work, folder: Path) -> Work:
    """Writes a finished part's sample to ``folder``; gives the part back without its fields.

    Raises:
        InputError: the disk won't take it; this ends the run, which goes on when run again.
    """
    clip = work.clip
    if clip.drop:
        return work
    frames = max((len(v) for n, v in clip.fields.items() if SCHEMA_ARRAYS.get(n)), default=0)
    try:
        write_shard(piece(folder, clip.id), [sample(clip, work.input)])
    except OSError as error:
        raise InputError(
            f"can't write below {folder}: {error.strerror or error}; make room, then run again"
        ) from error
    return replace(work, clip=replace(clip, fields={}).noting(frames=frames))


SCHEMA_ARRAYS: Mapping[str, bool] = {
    name: entry.shape.startswith("T") and entry.codec in ("npy", "mask", "jpegs")
    for name, entry in SCHEMA.items()
}


def piece(folder: Path, key: str) -> Path:
    """Where the small tar of a segment lies."""
    return folder / f"{key}.tar"


def assemble(keys: Sequence[str], folder: Path, out: Place, target_bytes: float) -> list[ShardFile]:
    """Puts small tars together in the order given: equal pieces give equal shards.

    A note of each finished shard stays in ``folder``: a run that was cut short while it wrote or
    uploaded them goes on with the next one.

    Args:
        keys: of the segments.
        folder: of the small tars.
        out: of the shards.
        target_bytes: a shard is closed once it holds this much.
    """
    groups: list[list[str]] = []
    filled = 0
    for key in keys:
        if not groups or filled >= target_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(key)
        filled += piece(folder, key).stat().st_size
    wanted = {_name(i) for i in range(len(groups))}
    for old in names(out):
        if old.startswith("shard-") and old.endswith(".tar") and old not in wanted:
            (out / old).unlink()
    return [_shard(group, folder, out / _name(i)) for i, group in enumerate(groups)]


def _shard(keys: Sequence[str], folder: Path, target: Place) -> ShardFile:
    """Writes a shard, or finds it written from these very pieces."""
    stats = [piece(folder, key).stat() for key in keys]
    stamp = [str(target), [[k, s.st_size, s.st_mtime_ns] for k, s in zip(keys, stats, strict=True)]]
    note = folder / SHARDS / f"{target.name}.json"
    if note.exists():
        known = read_json(note)
        if known["stamp"] == stamp and size(target) == known["file"]["bytes"]:
            return ShardFile(**{**known["file"], "keys": tuple(keys)})
    made = write_shard(target, _samples(keys, folder))
    write_json(note, {"stamp": stamp, "file": asdict(made)})
    return made


def _name(index: int) -> str:
    return f"shard-{index:05d}.tar"


def _samples(keys: Sequence[str], folder: Path) -> Iterator[Sample]:
    for key in keys:
        yield from read_shard(piece(folder, key), raw=True)
