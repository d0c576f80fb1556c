"""How far a preprocessing run is, and how long it will go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preprocessing import ledger


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: inputs. frames: frames kept in this run so far.
        frames_per_s: of this run. left_s: seconds left, by the inputs' sizes; None at the start.
        row: of the input that was finished last; None at the start.
    """

    done: int
    total: int
    frames: int
    frames_per_s: float
    left_s: float | None
    row: ledger.Row | None = None

    def __str__(self) -> str:
        left = "" if self.left_s is None else f", {self.left_s:.0f} s left"
        return f"clips {self.done}/{self.total}, {self.frames_per_s:.1f} frames/s{left}"


Tell = Callable[[Progress], None]


class Clock:
    """Tells how far a run is; what is left, by the bytes of the inputs that are still to do.

    Args:
        sizes: of all inputs, bytes.
        todo: which of them are still to do.
        tell: told at the start and after each input; None for nobody.
    """

    def __init__(self, sizes: Sequence[int], todo: Sequence[int], tell: Tell | None) -> None:
        self.sizes = [max(1, size) for size in sizes]
        self.left = sum(self.sizes[i] for i in todo)
        self.total, self.done = len(sizes), len(sizes) - len(todo)
        self.spent, self.frames, self.tell = 0, 0, tell
        self.start = time.perf_counter()
        self._say(None)

    def tick(self, index: int, row: ledger.Row) -> None:
        """Input ``index`` is done."""
        self.spent += self.sizes[index]
        self.left -= self.sizes[index]
        self.done += 1
        self.frames += row.frames
        self._say(row)

    def _say(self, row: ledger.Row | None) -> None:
        if self.tell is None:
            return
        seconds = max(1e-6, time.perf_counter() - self.start)
        left = seconds / self.spent * self.left if self.spent else None
        speed = self.frames / seconds
        self.tell(Progress(self.done, self.total, self.frames, speed, left, row))
