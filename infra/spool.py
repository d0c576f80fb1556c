"""An outbox on disk: what is to be sent stands there first, in order, until it was acknowledged.

Lines are handed to the system and not forced to the disk: they survive ``kill -9``, a machine that
loses its power may lose the last seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import read_json, write_json

Op = dict[str, Any]


class InUse(Exception):
    """Another process holds the outbox."""


class Outbox:
    """Operations of one process, oldest first.

    ``ops.jsonl`` is only appended to. ``state.json`` says for which address it is, up to which byte
    it was acknowledged, and what the sender wants to remember. ``files/`` holds copies of files
    until they are sent, ``refused.jsonl`` what can never be sent. The lock is held while this
    object is open; the system lets go of it when the process dies.

    Args:
        folder: of an outbox that is there; ``create`` makes a new one.

    Raises:
        InUse: another process has it open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mutex = threading.Lock()
        self._holder = (folder / ".lock").open("a")
        try:
            fcntl.flock(self._holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._holder.close()
            raise InUse(str(folder)) from None
        self.state: dict[str, Any] = read_json(folder / "state.json")
        self._ops = os.open(folder / "ops.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        # What a process that died left of its last line must not spoil the next.
        size = os.fstat(self._ops).st_size
        self._whole = size == 0 or os.pread(self._ops, 1, size - 1) == b"\n"

    @classmethod
    def create(cls, root: Path, address: str) -> Outbox:
        """A new one below ``root``; names sort by age."""
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        # Locked under a hidden name: nobody may find it and take it away before it is ours.
        hidden = root / f".{name}"
        hidden.mkdir(parents=True)
        write_json(hidden / "state.json", {"address": address, "sent": 0, "memory": {}})
        box = cls(hidden)
        box.folder = hidden.rename(root / name)
        return box

    def add(self, op: Op) -> None:
        """Appends an operation.

        Raises:
            OSError: the disk takes no more.
        """
        line = (json.dumps(op) + "\n").encode()
        with self._mutex:
            line = line if self._whole else b"\n" + line
            self._whole = False
            written = os.write(self._ops, line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
            self._whole = True

    def add_file(self, path: Path) -> str:
        """Copies a file into the outbox; gives the copy's path from there."""
        kept = Path("files") / uuid.uuid4().hex / path.name
        (self.folder / kept).parent.mkdir(parents=True)
        shutil.copyfile(path, self.folder / kept)
        return str(kept)

    def pending(self, everything: bool = False) -> Iterator[tuple[Op, int]]:
        """Operations not yet acknowledged (or all), each with the byte at which it ends."""
        if self._holder.closed:  # whoever has it now sends them
            return
        end = 0 if everything else self.state["sent"]
        with (self.folder / "ops.jsonl").open("rb") as lines:
            lines.seek(end)
            for line in lines:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                with suppress(ValueError):  # half a line of a process that died, or of a full disk
                    yield json.loads(line), end

    def done(self, end: int, memory: Mapping[str, Any]) -> None:
        """Everything up to byte ``end`` was acknowledged; ``memory`` is kept with it."""
        self.state = {**self.state, "sent": end, "memory": dict(memory)}
        write_json(self.folder / "state.json", self.state)

    def drop_file(self, kept: str) -> None:
        """Removes a copy that was sent."""
        shutil.rmtree((self.folder / kept).parent, ignore_errors=True)

    def refuse(self, op: Op, reason: str) -> None:
        """Keeps an operation that can never be sent; its file stays too."""
        with (self.folder / "refused.jsonl").open("a") as out:
            out.write(json.dumps({"reason": reason, **op}) + "\n")

    def close(self) -> None:
        """Lets go of it; removes it when everything was sent and nothing refused."""
        if self._holder.closed:
            return
        empty = next(self.pending(), None) is None
        if empty and not (self.folder / "refused.jsonl").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._ops)
        self._holder.close()


def left(root: Path) -> Iterator[Outbox]:
    """Outboxes below ``root`` that no process is at, oldest first; closed after their turn."""
    for folder in sorted(root.glob("[!.]*/state.json")):
        try:
            box = Outbox(folder.parent)
        except (InUse, OSError, InputError):  # at work, or just removed by another process
            continue
        try:
            yield box
        finally:
            box.close()
