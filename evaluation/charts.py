"""Curves as data for the template: stretched SVG paths, and HTML labels that stay crisp.

The page draws lines in an SVG that fills its box at any width (strokes don't scale), and sets the
tick labels as text beside it: readable on a phone, and no plotting code in the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 1000.0, 400.0
MOST_POINTS = 700
TICKS = 5

Series = Sequence[float] | np.ndarray | tuple[Sequence[float], Sequence[float]]
"""y values over 0, 1, 2 ..., or a tuple (x values, y values)."""


@dataclass(frozen=True)
class Line:
    """One curve: its name, SVG path and last value."""

    name: str
    path: str
    last: float


@dataclass(frozen=True)
class Tick:
    """A label and its place along the axis, in percent."""

    label: str
    at: float


@dataclass(frozen=True)
class Chart:
    """Everything the template draws."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_name: str
    y_name: str
    ends: bool
    """Whether the legend tells each line's last value: of use where it is what was reached."""


def nice_ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) inside [low, high], about ``count``."""
    span = high - low
    rough = span / max(count, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(k * step) for k in np.arange(first, last + 1)]


def label(value: float) -> str:
    """A tick's text: 1.2 k instead of 1200, no trailing zeros."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g} k"
    return f"{value:.6g}".replace("-0", "0") if value == 0 else f"{value:.6g}"


def _points(series: Series) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(series, tuple):
        x, y = (np.asarray(part, np.float64) for part in series)
    else:
        y = np.asarray(series, np.float64)
        x = np.arange(len(y), dtype=np.float64)
    assert x.shape == y.shape, f"x {x.shape} and y {y.shape}"
    if len(y) > MOST_POINTS:
        keep = np.linspace(0, len(y) - 1, MOST_POINTS).round().astype(int)
        x, y = x[keep], y[keep]
    return x, y


def _limits(values: Sequence[np.ndarray]) -> tuple[float, float]:
    known = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    if low == high:
        return low - 0.5, high + 0.5
    return low, high


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Path commands; a value that is not finite lifts the pen."""
    parts, down = [], False
    for a, b in zip(x, y, strict=True):
        if not np.isfinite(b):
            down = False
            continue
        parts.append(f"{'L' if down else 'M'}{a:.1f} {b:.1f}")
        down = True
    return "".join(parts)


def chart(
    series: Mapping[str, Series],
    x_name: str = "",
    y_name: str = "",
    log_y: bool = False,
    from_zero: bool = False,
) -> Chart:
    """Lays out curves.

    Args:
        series: y values by name, see ``Series``; the first is drawn as the reference.
        x_name: the x axis in words.
        y_name: the y axis in words.
        log_y: logarithmic y; values that are not positive lift the pen.
        from_zero: whether the y axis must reach down to 0.
    """
    points = {name: _points(s) for name, s in series.items()}
    if log_y:
        with np.errstate(divide="ignore", invalid="ignore"):
            points = {
                name: (x, np.where(y > 0, np.log10(y), np.nan)) for name, (x, y) in points.items()
            }
    left, right = _limits([x for x, _ in points.values()])
    low, high = _limits([y for _, y in points.values()])
    if from_zero:
        low = min(low, 0.0)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)

    def across(x: np.ndarray | float) -> np.ndarray:
        return (np.asarray(x) - left) / (right - left)

    def up(y: np.ndarray | float) -> np.ndarray:
        return 1 - (np.asarray(y) - low) / (high - low)

    def last(y: np.ndarray) -> float:
        known = y[np.isfinite(y)]
        value = float(known[-1]) if len(known) else float("nan")
        return 10.0**value if log_y else value

    lines = tuple(
        Line(name, _path(WIDTH * across(x), HEIGHT * up(y)), last(y))
        for name, (x, y) in points.items()
    )
    y_ticks = [
        Tick(f"{10.0**v:.2g}" if log_y else label(v), 100 * float(up(v)))
        for v in nice_ticks(low, high)
    ]
    x_ticks = [Tick(label(v), 100 * float(across(v))) for v in nice_ticks(left, right)]
    return Chart(lines, tuple(x_ticks), tuple(y_ticks), x_name, y_name, ends=log_y)
