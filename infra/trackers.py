"""Trackers that need no service: a file beside the checkpoint, or nothing."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import cv2
import numpy as np

from core.contracts import Numbers

Status = Literal["FINISHED", "FAILED", "KILLED"]


class NullTracker:
    """Keeps nothing; the base of the others, which say what they keep by overriding."""

    @property
    def run_id(self) -> str:
        """The service's id of the run; "" without one."""
        return ""

    def params(self, values: Mapping[str, Any]) -> None:
        """Logs the resolved recipe."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Sets tags of the run."""

    def metrics(self, values: Numbers, step: int) -> None:
        """Logs numbers by name at a step."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keeps a file."""

    def child(self, name: str, tags: Mapping[str, str] | None = None) -> NullTracker:
        """A run below this one: a stage of the flow."""
        return self

    def flush(self) -> None:
        """Hands over what is buffered."""

    def close(self, status: Status = "FINISHED") -> None:
        """Ends the run."""

    def leave(self) -> None:
        """Lets go of the run, which goes on elsewhere."""

    def text(self, text: str, file: str) -> None:
        """Keeps ``text`` as the artifact ``file``, which may lie in a folder."""
        self._keep(file, text.encode())

    def image(self, name: str, image_HWC: np.ndarray, step: int) -> None:
        """Keeps an RGB uint8 picture as ``images/<name>_<step>.png``."""
        ok, png = cv2.imencode(".png", np.ascontiguousarray(image_HWC[..., ::-1]))
        assert ok, f"no PNG from {image_HWC.shape} {image_HWC.dtype}"
        self._keep(f"images/{name}_{step:07d}.png", png.tobytes())

    def _keep(self, file: str, data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="flashlips-artifact-") as scratch:
            path = Path(scratch) / Path(file).name
            path.write_bytes(data)
            folder = str(Path(file).parent)
            self.artifact(path, "" if folder == "." else folder)

    def __enter__(self) -> NullTracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists of mappings as one level: ``{"net.width": 96}``."""
    if isinstance(values, Mapping):
        pairs = [(str(k), v) for k, v in values.items()]
    elif isinstance(values, list | tuple) and any(isinstance(v, Mapping) for v in values):
        pairs = [(str(i), v) for i, v in enumerate(values)]
    else:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for name, value in pairs:
        flat |= flatten(value, f"{prefix}.{name}" if prefix else name)
    return flat


def append(path: Path, values: Numbers, step: int) -> None:
    """Appends one line of numbers to a JSONL file; what JSON can't say (nan, inf) becomes null."""
    numbers = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"step": step, "time": round(time.time(), 3), **numbers}) + "\n"
    with path.open("a+b") as out:
        # What a full disk left of its last line must not spoil the next.
        if out.seek(0, os.SEEK_END) and out.seek(-1, os.SEEK_END) >= 0 and out.read(1) != b"\n":
            line = "\n" + line
        out.write(line.encode())


def clean(name: str) -> str:
    """``name`` with only what MLflow allows in names."""
    return re.sub(r"[^\w\-. /]", "_", name)


class History(NullTracker):
    """Appends every number to ``history.jsonl`` beside the checkpoint, and passes all on.

    A step that was done again after an interruption and came out the same is told once.

    Args:
        folder: of the checkpoint. inner: the tracker that others look at; None for nobody.
    """

    FILE = "history.jsonl"

    def __init__(self, folder: Path, inner: Any = None) -> None:
        self.folder = folder
        self.inner = inner if inner is not None else NullTracker()
        self._told = {_outcome(row.pop("step"), row) for row in read_history(folder)}

    @property
    def run_id(self) -> str:
        """The inner run's id."""
        return str(getattr(self.inner, "run_id", ""))

    def params(self, values: Mapping[str, Any]) -> None:
        """Passes the recipe on."""
        self.inner.params(values)

    def metrics(self, values: Numbers, step: int) -> None:
        """Appends one line and passes it on."""
        outcome = _outcome(step, values)
        if outcome in self._told:
            return
        append(self.folder / self.FILE, values, step)  # raises on a full disk: the step is redone
        self._told.add(outcome)
        self.inner.metrics(values, step)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Passes the file on."""
        self.inner.artifact(path, folder)

    def tags(self, values: Mapping[str, str]) -> None:
        """Passes tags on."""
        self.inner.tags(values)

    def child(self, name: str, tags: Mapping[str, str] | None = None) -> NullTracker:
        """A run below the inner one."""
        made: NullTracker = self.inner.child(name, tags)
        return made

    def flush(self) -> None:
        """Hands over what the inner tracker buffers."""
        self.inner.flush()

    def close(self, status: Status = "FINISHED") -> None:
        """Ends the inner run."""
        self.inner.close(status)


def _outcome(step: float, row: Mapping[str, float | None]) -> tuple[Any, ...]:
    """What makes a line of numbers the same as another: all but the time it took."""
    values = {n: v for n, v in row.items() if n not in ("time", "samples_per_s")}
    finite = {n: v if v is not None and math.isfinite(v) else None for n, v in values.items()}
    return int(step), *sorted(finite.items())


def read_history(folder: Path) -> list[dict[str, float]]:
    """Lines of ``history.jsonl`` in a checkpoint folder, oldest first; empty when there is none.

    A step that a resumed run did again is there once, as it was done last.
    """
    path = folder / History.FILE
    if not path.exists():
        return []
    rows: dict[tuple[int, tuple[str, ...]], dict[str, float]] = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a killed run
            continue
        rows[(int(row["step"]), tuple(sorted(row)))] = row
    return [rows[key] for key in sorted(rows, key=lambda k: k[0])]
