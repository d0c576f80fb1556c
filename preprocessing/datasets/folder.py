"""Any tree of video files: every file with a video's suffix is one clip.

Source: yours. Licence: yours to know. The speaker is taken to be the file's stem.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from core.errors import InputError

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)


def clips(root: Path) -> Iterator[Clip]:
    """One clip a file, in the order of their paths.

    Links to folders are followed, each real folder once, so loops end. A folder that may not be
    looked into is a failed clip of its own: what it holds would be lost without a word.

    Args:
        root: a folder, or one video file.

    Raises:
        InputError: nothing at ``root``, or no video file below it.
    """
    closed: list[OSError] = []
    if root.is_file():
        found = [root]
    elif root.is_dir():
        found = sorted(_walk(root, closed), key=lambda path: path.relative_to(root).parts)
    else:
        raise InputError(f"no file or folder at {root}; check --source")
    for error in sorted(closed, key=lambda e: str(e.filename)):
        why = InputError(f"can't look into this folder: {error.strerror}; check its permissions")
        yield Clip(id="", source=str(error.filename)).failed("discover", why)
    if not found and not closed:
        raise InputError(
            f"no video file below {root}; known suffixes: {' '.join(sorted(SUFFIXES))}"
        )
    for path in found:
        yield Clip(id="", source=str(path), facts={"speaker": path.stem})


def _walk(root: Path, closed: list[OSError]) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root, onerror=closed.append, followlinks=True):
        status = Path(folder).stat()
        place = (status.st_dev, status.st_ino)
        if place in seen:
            names.clear()
            continue
        seen.add(place)
        names.sort()  # which of two links to one folder is taken must not be chance
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(folder) / name
