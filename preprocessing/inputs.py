"""The inputs of a run: listed by a data set, named by their content, compared with the last run."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import preprocessing.datasets
from core.clip import Clip, content_hash, content_id
from core.errors import InputError
from core.files import read_json, write_json
from core.storage import Place
from preprocessing.pack import POINTERS, printable

HASHES = "hashes.json"
SAVE_EVERY = 200
"""New hashes are saved every so many files: a run killed over terabytes must not start again."""

Dataset = Callable[[Path], Iterator[Clip]]


@dataclass(frozen=True)
class Input:
    """One listed clip.

    Attributes:
        clip: as listed, its source absolute; without an id until ``identify``.
        name: its source relative to the data set's root, printable.
        size, mtime_ns: of the file; -1 where it can't be looked at.
    """

    clip: Clip
    name: str
    size: int
    mtime_ns: int

    @property
    def given(self) -> str:
        """A digest of what the data set said about the clip; another one makes another sample."""
        facts = {k: v for k, v in self.clip.facts.items() if k not in POINTERS}
        return _digest([printable(Path(self.clip.source).name), self.clip.span_s, facts])


def dataset(name: str) -> Dataset:
    """The function ``clips`` of a data set.

    Args:
        name: of a module in ``preprocessing.datasets``, or any dotted module name.

    Raises:
        InputError: there is none; lists those there.
    """
    ours = preprocessing.datasets
    known = sorted(module.name for module in pkgutil.iter_modules(ours.__path__))
    full = name if "." in name else f"{ours.__name__}.{name}"
    try:
        module = importlib.import_module(full)
    except ImportError as error:
        if error.name is None or not full.startswith(error.name):
            raise  # the module is there; something that it imports is not
        raise InputError(
            f"no data set {name!r}; there are {', '.join(known)}, or give a dotted module name"
        ) from error
    function: Dataset | None = getattr(module, "clips", None)
    if function is None:
        raise InputError(f"data set {name!r}: {full} has no function clips(root)")
    return function


def listed(clips: Dataset, root: Path) -> list[Input]:
    """All clips of a data set with their files' size and time; reads no video.

    Raises:
        InputError: nothing at ``root``, or no clips.
    """
    root = root.expanduser().resolve()
    if not root.exists():
        raise InputError(f"no file or folder at {root}; check the source")
    found: list[Input] = []
    for clip in clips(root):
        path = Path(clip.source)
        name = path.name if path == root else os.path.relpath(path, root)
        try:
            stat = path.stat()
            size, mtime = stat.st_size, stat.st_mtime_ns
        except OSError:
            size, mtime = -1, -1
        found.append(Input(clip, printable(name), size, mtime))
    if not found:
        raise InputError(f"the data set lists no clips below {root}; check the source")
    return found


def fingerprint(inputs: Sequence[Input]) -> str:
    """A digest of the inputs by name, size, time and what was said of them."""
    return _digest([[i.name, i.size, i.mtime_ns, i.given] for i in inputs])


def identify(inputs: Sequence[Input], out: Place) -> Iterator[Input]:
    """Names inputs by their content; equal ones become duplicates of the first.

    Hashes are kept in ``out/hashes.json`` by name, size and time, so that nothing is read twice.
    """
    path = out / HASHES
    cache: dict[str, Any] = read_json(path) if path.exists() else {}
    write_json(path, cache)  # tells at once when the folder can't be written
    first: dict[str, str] = {}
    fresh = 0
    for entry in inputs:
        stamp = [entry.size, entry.mtime_ns]
        if cache.get(entry.name, [])[:2] != stamp:
            try:
                cache[entry.name] = [*stamp, content_hash(Path(entry.clip.source))]
            except OSError as error:
                yield _unread(entry, error)
                continue
            fresh += 1
            if fresh % SAVE_EVERY == 0:
                write_json(path, cache)
        digest = str(cache[entry.name][2])
        clip = replace(entry.clip, id=content_id(digest, entry.clip.span_s)).noting(sha256=digest)
        if clip.id in first:
            clip = clip.duplicate(first[clip.id])
        first.setdefault(clip.id, entry.name)
        yield replace(entry, clip=clip)
    write_json(path, cache)


def _unread(entry: Input, error: OSError) -> Input:
    """An input that can't be opened: a row, not the end of the run. It is named by its path."""
    clip = replace(entry.clip, id=content_id(_digest(entry.name), entry.clip.span_s))
    why = InputError(f"can't open {entry.name}: {error.strerror or error}; check its permissions")
    return replace(entry, clip=clip.failed("discover", why))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
