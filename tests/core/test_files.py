"""Writes that are whole or absent, also where there is no room."""

from __future__ import annotations

import errno
import os

import pytest

from core.errors import DiskFull, InputError
from core.files import atomic, is_full, room_in, write_json

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_for_the_bytes_is_one_sentence_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.json"

    def fill():
        with atomic(path) as part:
            part.write_text("half")
            raise FULL

    with pytest.raises(DiskFull, match=r"can't write .*a\.json: No space left .*; make room"):
        fill()
    assert not list(tmp_path.iterdir())
    write_json(path, {})
    assert path.exists()


def test_a_full_disk_is_known_by_its_text_too(tmp_path):
    with pytest.raises(DiskFull), room_in(tmp_path):
        raise RuntimeError('Io(Os { code: 28, message: "No space left on device" })')
    with pytest.raises(RuntimeError, match="other"), room_in(tmp_path):
        raise RuntimeError("other")
    with pytest.raises(InputError, match=r"^a person's$"), room_in(tmp_path):
        raise InputError("a person's")
    assert is_full(OSError(errno.EDQUOT, ""))
    assert not is_full(PermissionError(errno.EACCES, ""))
