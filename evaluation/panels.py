"""Small charts side by side: how numbers answer to one thing that was varied."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.charts import HEIGHT, WIDTH, Tick, label, nice_ticks
from evaluation.tables import ARROWS, number

Place = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A measured value, with its 95 % interval where there is one."""

    x: float
    y: float
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Dot:
    """A point in percent of the panel: place, ends of the interval, and what it says."""

    x: float
    y: float
    ends: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Drawn:
    """One line: its name, SVG path, dots."""

    name: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Panel:
    """One number: its title with an arrow for the better direction, lines, ticks."""

    title: str
    lines: tuple[Drawn, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Panels:
    """What the template draws: the lines' names once, and a panel for each number.

    Attributes:
        names: of lines, in the order of their colours.
        panels: one a number.
        x_name: what was varied.
        mark: what is said of all lines; "" for our own, which are drawn solid.
    """

    names: tuple[str, ...]
    panels: tuple[Panel, ...]
    x_name: str
    mark: str = ""


def panel(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    x_names: Sequence[str],
    better: str = "",
) -> Panel:
    """Lays out one number over places 0, 1, 2 ... along x.

    Args:
        title: the number.
        lines: points by name; those that are not finite are left out.
        x_names: what stands at each place.
        better: which way, for the arrow.
    """
    heights = [
        h for points in lines.values() for p in points for h in (p.y, *(p.ends or ())) if _known(h)
    ]
    low, high = (min(heights), max(heights)) if heights else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    low, high = low - 0.06 * (high - low), high + 0.06 * (high - low)
    last = max(len(x_names) - 1, 1)

    def place(x: float, y: float) -> Place:
        # Half a step of air on either side keeps dots off the frame.
        return 100 * (x + 0.5) / (last + 1), 100 * (1 - (y - low) / (high - low))

    drawn = tuple(
        _line(name, [p for p in points if _known(p.y)], place, x_names)
        for name, points in lines.items()
    )
    x_ticks = tuple(Tick(text, place(k, 0)[0]) for k, text in enumerate(x_names))
    y_ticks = tuple(Tick(label(v), place(0, v)[1]) for v in nice_ticks(low, high, 3))
    return Panel(title.replace("_", " ") + ARROWS.get(better, ""), drawn, x_ticks, y_ticks)


def _line(
    name: str,
    points: Sequence[Point],
    place: Callable[[float, float], Place],
    x_names: Sequence[str],
) -> Drawn:
    dots = []
    for p in sorted(points, key=lambda p: p.x):
        ends = None
        if p.ends is not None and all(map(_known, p.ends)):
            ends = place(p.x, p.ends[1])[1], place(p.x, p.ends[0])[1]
        text = f"{name}, {x_names[round(p.x)]}: {number(p.y)}"
        dots.append(Dot(*place(p.x, p.y), ends, text))
    commands = [
        f"{'L' if k else 'M'}{d.x * WIDTH / 100:.1f} {d.y * HEIGHT / 100:.1f}"
        for k, d in enumerate(dots)
    ]
    return Drawn(name, "".join(commands), tuple(dots))


def _known(value: float) -> bool:
    return math.isfinite(value)
