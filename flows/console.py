"""Progress for people: one line that changes on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

_TERMINAL_S = 0.2
_LOG_S = 5.0


def duration(seconds: float) -> str:
    """``75`` -> ``1:15``."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


class Console:
    """Writes to standard error, so that results on standard output stay clean."""

    def __init__(self) -> None:
        self._last = 0.0
        self._open = False
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._open:
            sys.stderr.write("\n")
            self._open = False
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def bar(self, name: str, done: float, total: float, left_s: float, note: str = "") -> None:
        """How far a long piece of work is.

        Args:
            name: of the work.
            done: in any unit.
            total: likewise.
            left_s: seconds left, nan when unknown.
            note: numbers worth seeing.
        """
        now, finished = time.monotonic(), done >= total
        pause = _TERMINAL_S if self._terminal else _LOG_S
        if now - self._last < pause and not (finished and self._open):
            return
        self._last = now
        share = done / total if total else 1.0
        left = "" if left_s != left_s else f"  {duration(left_s)} left"
        text = f"  {name:<16} {100 * share:3.0f} %{left}  {note}"
        if self._terminal:
            sys.stderr.write("\r" + text[:118].ljust(118))
            self._open = not finished
            if finished:
                sys.stderr.write("\n")
        else:
            sys.stderr.write(text.rstrip() + "\n")
        sys.stderr.flush()

    def counter(self, name: str) -> Callable[[int, int], None]:
        """A callback (done, total) for work whose pieces take about equally long."""
        start = time.monotonic()

        def tell(done: int, total: int) -> None:
            left = (time.monotonic() - start) / done * (total - done) if done else float("nan")
            self.bar(name, done, total, left, f"{done} of {total}")

        return tell

    def training(
        self, stage: str, step: int, steps: int, losses: Mapping[str, float], left_s: float
    ) -> None:
        """The training loop's progress callback."""
        note = "  ".join(f"{k} {v:.4f}" for k, v in losses.items())
        self.bar(stage, step, steps, left_s, f"step {step}  {note}")
