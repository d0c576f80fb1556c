"""Writes that are whole or absent: to a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import DiskFull, InputError
from core.storage import Place, Remote, uploading


@contextmanager
def atomic(path: Place) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to; renames it into place on success.

    The temporary name keeps the suffix, so that writers which look at it choose the same format.
    For a ``Remote`` the path is local and what was written there is uploaded on success.

    Raises:
        InputError: the folder can't be written.
        DiskFull: it has no room.
    """
    if isinstance(path, Remote):
        with uploading(path) as part:
            yield part
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        probe.touch()
    except OSError as error:
        if is_full(error):
            raise _no_room(path) from error
        raise InputError(
            f"can't write {path}: {error.strerror or error}; choose a folder you may write to"
        ) from error
    try:
        with room_in(path):
            yield probe
            probe.replace(path)
    finally:
        probe.unlink(missing_ok=True)


@contextmanager
def room_in(path: Path) -> Iterator[None]:
    """A full disk inside is told in a sentence that names ``path``, whoever met it.

    Raises:
        DiskFull: it was full.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_full(error):
            raise _no_room(path) from error
        raise


def is_full(error: BaseException) -> bool:
    """Whether a disk had no room; libraries of other languages say so only in their text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def _no_room(path: Path) -> DiskFull:
    return DiskFull(f"can't write {path}: {os.strerror(errno.ENOSPC)}; make room, then run again")


def write_bytes(path: Place, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all."""
    with atomic(path) as part:
        part.write_bytes(data)


def write_json(path: Place, value: Any) -> None:
    """Writes ``value`` as readable JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Place) -> Any:
    """Reads JSON.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again") from error
