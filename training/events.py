"""A worker's news as lines of JSON in a file, and the driver's thread that passes them on.

The driver owns console and tracker; a worker only appends to a file, so news arrives while it
trains, survives its death, and no tracking library is loaded on the worker.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.contracts import Numbers
from core.errors import InputError
from training.loop import Watch

_POLL_S = 0.3
_ROOM, _ERROR = 4096, ".error"


class EventWriter(logging.Handler):
    """A tracker, a progress callback and a log handler, all writing lines to one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self.path = path

    def _write(self, kind: str, **values: Any) -> None:
        with self.path.open("a") as file:
            # Begins a line too: half of one may be there, of a full disk or a worker that died.
            file.write("\n" + json.dumps({"kind": kind, **values}) + "\n")

    def params(self, values: Mapping[str, Any]) -> None:
        """Recipe."""
        self._write("params", values=dict(values))

    def metrics(self, values: Numbers, step: int) -> None:
        """Numbers at a step."""
        self._write("metrics", values=dict(values), step=step)

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file, by its path."""
        self._write("artifact", path=str(path), folder=folder)

    def progress(
        self, stage: str, step: int, steps: int, losses: Numbers, seconds_left: float
    ) -> None:
        """Steps done and time left."""
        self._write("progress", values=[stage, step, steps, dict(losses), seconds_left])

    def error(self, message: str) -> None:
        """A person's mistake, found on the worker; goes into room that the reader has reserved.

        It may be about a full disk.
        """
        _overwrite(self.path.with_suffix(_ERROR), message.encode()[:_ROOM])

    def emit(self, record: logging.LogRecord) -> None:
        """A log record."""
        self._write("log", name=record.name, level=record.levelno, text=record.getMessage())

    @contextmanager
    def hearing(self, *loggers: str) -> Iterator[None]:
        """Log records of these loggers go to the file inside this block."""
        for name in loggers:
            logging.getLogger(name).addHandler(self)
            logging.getLogger(name).setLevel(logging.INFO)
        try:
            yield
        finally:
            for name in loggers:
                logging.getLogger(name).removeHandler(self)


class EventReader:
    """Passes a worker's events on while it runs.

    Numbers that a driver was killed before it passed on are passed on by the next.

    Args:
        path: the file; emptied first.
        watch: tracker and progress callback to pass them to.
    """

    def __init__(self, path: Path, watch: Watch) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.watch = path, watch
        self._mark = path.with_suffix(".at")
        self._pass_on_left()
        self._at = 0
        for file in (self._mark, path.with_suffix(_ERROR)):
            file.write_bytes(b" " * _ROOM)
        _overwrite(self._mark, b"0")
        path.write_bytes(b"")

    @property
    def error(self) -> str:
        """A person's mistake, found on a worker; "" when there is none."""
        return self.path.with_suffix(_ERROR).read_text(errors="ignore").strip()

    def drain(self) -> None:
        """Passes on every whole line that has come since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        for line in new[: new.rfind(b"\n") + 1].splitlines(keepends=True):
            for event in _events(line):
                self._pass_on(event)
            self._at += len(line)
            _overwrite(self._mark, str(self._at).encode())

    def _pass_on_left(self) -> None:
        """Numbers of the run before, from where its driver had stopped reading."""
        try:
            at = int(self._mark.read_text())
            left = self.path.read_bytes()[at:]
        except (OSError, ValueError):  # there was none, or nobody knows
            return
        for event in _events(left):
            if event["kind"] == "metrics":
                self._pass_on(event)

    @contextmanager
    def following(self) -> Iterator[None]:
        """A thread drains the file inside this block; the rest is drained at its end.

        Raises:
            InputError: a worker's; whatever else was raised inside follows from that.
        """
        stop = threading.Event()

        def follow() -> None:
            # A full disk is told by the last drain, which stands where somebody hears it.
            with suppress(OSError):
                while not stop.wait(_POLL_S):
                    self.drain()

        thread = threading.Thread(target=follow, name="events", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.drain()
            if self.error:
                raise InputError(self.error)

    def _pass_on(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "progress":
            self.watch.progress(*event["values"])
        elif kind == "metrics":
            self.watch.tracker.metrics(event["values"], event["step"])
        elif kind == "params":
            self.watch.tracker.params(event["values"])
        elif kind == "artifact":
            self.watch.tracker.artifact(Path(event["path"]), event["folder"])
        elif kind == "log":
            logging.getLogger(event["name"]).log(event["level"], "%s", event["text"])


def _overwrite(file: Path, text: bytes) -> None:
    """Writes into room that is there already: a full disk, or a kill, leaves no half of it."""
    with file.open("r+b") as out:
        out.write(text.ljust(_ROOM))


def _events(lines: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines among these."""
    for line in lines.splitlines():
        with suppress(ValueError):
            yield json.loads(line)
