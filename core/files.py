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


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to; renames it into place on success.

    The temporary name keeps the suffix, so that writers which look at it choose the same format.

    Raises:
        InputError: the folder can't be written.
    """
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


def write_bytes(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path``, whole or not at all."""
    with atomic(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as readable JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); write it again") from error
