"""The inputs of a run: listed by a data set, named by their content, compared with the last run."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import pkgutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import preprocessing.datasets
from core.clip import Clip, content_hash, content_id
from core.errors import InputError
from core.files import read_json, write_json
from core.split import split_of
from core.storage import Place
from preprocessing.pack import POINTERS, printable

HASHES = "hashes.json"
SAVE_EVERY = 200
"""New hashes are saved every so many files: a run killed over terabytes must not start again."""

Dataset = Callable[[Path], Iterator[Clip]]


@dataclass(frozen=True)
class File:
    """A file on disk, or one that should be there.

    Attributes:
        path: absolute.
        name: relative to the data set's root, printable.
        size, mtime_ns: -1 where it can't be looked at.
        there: False when nothing of that name exists, not even a dangling link.
    """

    path: Path
    name: str
    size: int
    mtime_ns: int
    there: bool

    @classmethod
    def at(cls, path: Path, root: Path) -> File:
        """Looks at a file without opening it."""
        name = printable(path.name if path == root else os.path.relpath(path, root))
        try:
            status = path.stat()
        except OSError:
            return cls(path, name, -1, -1, os.path.lexists(path))
        return cls(path, name, status.st_size, status.st_mtime_ns, True)

    @property
    def stamp(self) -> list[int]:
        """What changes when the file does."""
        return [self.size, self.mtime_ns]


@dataclass(frozen=True)
class Input:
    """One listed clip.

    Attributes:
        clip: as listed, its source absolute; without an id until ``identify``.
        video: its source.
        sound: the file of its fact ``sound_file``, or None.
    """

    clip: Clip
    video: File
    sound: File | None = None

    @property
    def name(self) -> str:
        """Its source relative to the data set's root, printable."""
        return self.video.name

    @property
    def size(self) -> int:
        """Bytes of the video; -1 where it can't be looked at."""
        return self.video.size

    @property
    def files(self) -> Mapping[str, File]:
        """All that it is read from, by what it is."""
        return {"video": self.video} | ({"sound": self.sound} if self.sound else {})

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
        video, sound = Path(clip.source), None
        if "sound_file" in clip.facts:
            sound = File.at(video.parent / str(clip.facts["sound_file"]), root)
            clip = clip.noting(sound_file=str(sound.path))
        found.append(Input(clip, File.at(video, root), sound))
    if not found:
        raise InputError(f"the data set lists no clips below {root}; check the source")
    return found


def fingerprint(inputs: Sequence[Input]) -> str:
    """A digest of the inputs by name, size, time and what was said of them."""
    return _digest([_print(i) for i in inputs])


def _print(entry: Input) -> list[Any]:
    apart = [entry.sound.name, *entry.sound.stamp] if entry.sound else []
    return [entry.name, *entry.video.stamp, entry.given, *apart]


def identify(inputs: Sequence[Input], out: Place) -> Iterator[Input]:
    """Names inputs by their content; equal ones become duplicates of the first.

    Content is the video's bytes, those of its sound file, and the region of the picture that the
    data set gives. Hashes are kept in ``out/hashes.json`` by name, size and time, so that
    nothing is read twice. A file that is not on disk makes its clip ``missing``.
    """
    hashes = _Hashes(out / HASHES)
    first: dict[str, str] = {}
    for entry in inputs:
        entry = replace(entry, clip=entry.clip.noting(split=split_of(entry.clip.speaker)))
        absent = [what for what, file in entry.files.items() if not file.there]
        if entry.clip.drop or absent:  # the data set itself may reject a clip
            clip = _by_name(entry)
            yield replace(entry, clip=clip if clip.drop else clip.missing(absent[0]))
            continue
        try:
            digests = [hashes.of(file) for file in entry.files.values()]
        except OSError as error:
            yield _unread(entry, error)
            continue
        clip = _named(entry.clip, digests)
        if clip.id in first:
            clip = clip.duplicate(first[clip.id])
        first.setdefault(clip.id, entry.name)
        yield replace(entry, clip=clip)
    hashes.save()


class _Hashes:
    """SHA-256 of files by name, size and time, kept in a JSON file."""

    def __init__(self, path: Place) -> None:
        self.path, self.fresh = path, 0
        self.known: dict[str, Any] = read_json(path) if path.exists() else {}
        self.save()  # tells at once when the folder can't be written

    def save(self) -> None:
        write_json(self.path, self.known)

    def of(self, file: File) -> str:
        if not stat.S_ISREG(file.path.stat().st_mode):
            # A named pipe would be waited for without end.
            raise OSError(errno.EINVAL, "it is no regular file", str(file.path))
        if self.known.get(file.name, [])[:2] != file.stamp:
            self.known[file.name] = [*file.stamp, content_hash(file.path)]
            self.fresh += 1
            if self.fresh % SAVE_EVERY == 0:
                self.save()
        return str(self.known[file.name][2])


def _named(clip: Clip, digests: Sequence[str]) -> Clip:
    """The clip with its id; what makes it more than its video's bytes is the fact ``content``."""
    video, *others = digests
    noted = clip.noting(sha256=video)
    content = video
    if others or "roi" in clip.facts:
        content = _digest([*digests, clip.facts.get("roi", "")])
        noted = noted.noting(content=content)
    return replace(noted, id=content_id(content, clip.span_s))


def _by_name(entry: Input) -> Clip:
    """The clip of a file that nobody could read, named by its path."""
    name = _digest([entry.name, entry.clip.facts.get("roi", "")])
    return replace(entry.clip, id=content_id(name, entry.clip.span_s))


def _unread(entry: Input, error: OSError) -> Input:
    """An input that can't be opened: a row, not the end of the run."""
    name = next((f.name for f in entry.files.values() if str(f.path) == error.filename), entry.name)
    why = InputError(f"can't open {name}: {error.strerror or error}; check its permissions")
    return replace(entry, clip=_by_name(entry).failed("discover", why))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
