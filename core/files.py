"""Writes that are whole or absent: to a temporary name beside the target, then renamed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.storage import Place, Remote, uploading


@contextmanager
def atomic(path: Place) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to; renames it into place on success.

    The temporary name keeps the suffix, so that writers which look at it choose the same format.
    For a ``Remote`` the path is local and what was written there is uploaded on success.

    Raises:
        InputError: the folder can't be written.
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room, then run again" if full else "choose a folder you may write to"
        raise InputError(f"can't write {path}: {error.strerror or error}; {advice}") from error
    try:
        yield probe
        probe.replace(path)
    finally:
        probe.unlink(missing_ok=True)


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
