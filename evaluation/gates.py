"""Gates: a number, its interval, what was wanted of it, and whether it got there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.stats import Interval, paired_difference
from evaluation.tables import interval as interval_text
from evaluation.tables import number

NAN = float("nan")


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        name: what is measured, in words a newcomer understands.
        wanted: what it must be, in words ("at least 1.5 dB").
        value: what it is; NaN when it could not be measured.
        passed: None when it could not be measured.
        low: lower end of the 95 % interval, NaN without one.
        high: upper end of it.
        threshold: the number (or the lower one of two) that ``wanted`` speaks of.
        ceiling: the upper of two numbers.
        note: what a reader must know, say which clip missed it.
    """

    name: str
    wanted: str
    value: float
    passed: bool | None
    low: float = NAN
    high: float = NAN
    threshold: float = NAN
    ceiling: float = NAN
    note: str = ""

    def json(self) -> dict[str, Any]:
        """Plain values, for report.json."""
        return asdict(self)


def _verdict(value: float, passed: bool) -> bool | None:
    return bool(passed) if np.isfinite(value) else None


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (NAN, NAN) if interval is None else (interval.low, interval.high)


def at_least(
    name: str, value: float, threshold: float, interval: Interval | None = None, note: str = ""
) -> Gate:
    """Passed when ``value >= threshold``; the interval is shown, not tested."""
    ok = _verdict(value, value >= threshold)
    return Gate(name, f"at least {threshold:g}", value, ok, *_ends(interval), threshold, note=note)


def at_most(
    name: str, value: float, threshold: float, interval: Interval | None = None, note: str = ""
) -> Gate:
    """Passed when ``value <= threshold``; the interval is shown, not tested."""
    ok = _verdict(value, value <= threshold)
    return Gate(name, f"at most {threshold:g}", value, ok, *_ends(interval), threshold, note=note)


def between(
    name: str,
    value: float,
    limits: tuple[float, float],
    interval: Interval | None = None,
    note: str = "",
) -> Gate:
    """Passed when the value lies inside ``limits``, ends included."""
    low, high = limits
    ok = _verdict(value, low <= value <= high)
    return Gate(name, f"{low:g} to {high:g}", value, ok, *_ends(interval), low, high, note)


def above_zero(name: str, gain: Interval, note: str = "") -> Gate:
    """Passed when all of the gain's 95 % interval lies above 0."""
    ok = _verdict(gain.low, gain.above_zero)
    return Gate(name, "interval above 0", gain.value, ok, gain.low, gain.high, 0.0, note=note)


def beats_copy(
    stage: str,
    error: np.ndarray | Sequence[np.ndarray],
    copy_error: np.ndarray | Sequence[np.ndarray],
    block: int = 1,
) -> Gate:
    """A stage against its copy baseline: by how much its error is lower on the same samples.

    The value is relative to the copy's mean error, so that stages can be read side by side.

    Args:
        stage: its name.
        error: (B,) held-out error of each sample (``Objective.measure``), or a list, one a clip.
        copy_error: the copy baseline's, same shape.
        block: samples drawn together by the bootstrap; 1 when they are no neighbours in time.
    """
    gain = paired_difference(copy_error, error, block)
    rows = [copy_error] if isinstance(copy_error, np.ndarray) else list(copy_error)
    scale = float(np.mean(np.concatenate(rows))) or 1.0
    relative = Interval(gain.value / scale, gain.low / scale, gain.high / scale)
    return above_zero(f"{stage}: error below its copy baseline's, as a share", relative)


@dataclass(frozen=True)
class Strip:
    """A gate with the places, in percent, of its interval, value and limits on a common strip."""

    gate: Gate
    value: str
    interval: str
    low: float
    high: float
    at: float
    limits: tuple[float, ...]


def strip(gate: Gate) -> Strip:
    """Places a gate's value, interval and limits on a strip from 0 to 100 %."""
    limits = [v for v in (gate.threshold, gate.ceiling) if np.isfinite(v)]
    ends = [gate.low if np.isfinite(gate.low) else gate.value]
    ends.append(gate.high if np.isfinite(gate.high) else gate.value)
    known = [v for v in (*limits, *ends, gate.value) if np.isfinite(v)]
    left, right = (min(known), max(known)) if known else (0.0, 1.0)
    room = 0.12 * (right - left) or 1.0

    def at(value: float) -> float:
        if not np.isfinite(value):
            return NAN
        return 100 * (value - left + room) / (right - left + 2 * room)

    return Strip(
        gate,
        number(gate.value),
        interval_text((gate.low, gate.high)),
        at(ends[0]),
        at(ends[1]),
        at(gate.value),
        tuple(at(v) for v in limits),
    )
