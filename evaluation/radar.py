"""Several systems as polygons over one wheel of numbers, in the manner of FlashLips' Fig. 2.

Outward is better whichever way a number is better: on each axis the best of the shown systems lies
on the rim and the worst at ``INNER`` of it, so a wheel tells who is where, not by how much; the
labels tell both ends in numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.tables import ARROWS, number
from evaluation.video_numbers import FACTS, RANDOM, contest, title

SIDE = 1000.0
RIM = 0.5 * SIDE
INNER = 0.2
"""The worst system's place on an axis: not the middle, where all axes meet."""
LEAST, MOST = 3, 10
"""Axes of a wheel: fewer enclose nothing, more can't be labelled."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A spoke: its number, its end on the rim, and its ends in numbers.

    Attributes:
        name: with an arrow for the better direction.
        end: SVG units.
        best, worst: of the shown systems, as text.
    """

    name: str
    end: Point
    best: str
    worst: str

    @property
    def side(self) -> str:
        """On which side of its place a label hangs: left, right or middle."""
        across = self.end[0] / SIDE - 0.5
        return "middle" if abs(across) < 0.08 else "right" if across > 0 else "left"


@dataclass(frozen=True)
class Polygon:
    """A system: its corners, one an axis, in SVG units, and what each stands for."""

    name: str
    corners: tuple[Point, ...]
    texts: tuple[str, ...]

    @property
    def points(self) -> str:
        """As SVG's ``points``."""
        return _points(self.corners)


@dataclass(frozen=True)
class Radar:
    """Everything the template draws, and why numbers are not on it."""

    axes: tuple[Axis, ...]
    polygons: tuple[Polygon, ...]
    rings: tuple[str, ...]
    left_out: tuple[str, ...]


def radar(
    systems: Mapping[str, Mapping[str, float]], directions: Mapping[str, str]
) -> Radar | None:
    """Lays out a wheel; None where two systems do not share three numbers that differ.

    Args:
        systems: numbers by system.
        directions: number -> "higher", "lower", "one" (left out, as is
            any other: it has no outward end).
    """
    names, left_out = axes_of(systems, directions)
    if len(systems) < 2 or len(names) < LEAST:
        return None
    places = {key: _scaled({s: systems[s][key] for s in systems}, directions[key]) for key in names}
    polygons = tuple(
        Polygon(
            system,
            tuple(_at(k, len(names), places[key][system]) for k, key in enumerate(names)),
            tuple(f"{system}, {title(key)}: {number(values[key])}" for key in names),
        )
        for system, values in systems.items()
    )
    spokes = tuple(_axis(k, names, systems, directions) for k in range(len(names)))
    rings = tuple(
        _points([_at(k, len(names), r) for k in range(len(names))]) for r in (INNER, 0.6, 1.0)
    )
    return Radar(spokes, polygons, rings, left_out)


def axes_of(
    systems: Mapping[str, Mapping[str, float]], directions: Mapping[str, str]
) -> tuple[list[str], tuple[str, ...]]:
    """The numbers that can be axes, and why the others can't, by reason."""
    ways = contest({key for values in systems.values() for key in values}, directions)
    names: list[str] = []
    reasons: dict[str, list[str]] = {}
    for key in ways:
        if key.endswith(FACTS):
            continue
        why = _unfit(key, systems, ways)
        if not why and len(names) == MOST:
            why = f"no room beside {MOST} others"
        if why:
            reasons.setdefault(why, []).append(title(key))
        else:
            names.append(key)
    return names, tuple(f"{', '.join(found)} ({why})" for why, found in reasons.items())


def _unfit(key: str, systems: Mapping[str, Mapping[str, float]], ways: Mapping[str, str]) -> str:
    """Why a number is no axis; empty where it is one."""
    values = {s: found.get(key, math.nan) for s, found in systems.items()}
    lacking = [s for s, value in values.items() if not math.isfinite(value)]
    if key.startswith(RANDOM):
        return "its net is random"
    if lacking:
        return f"not measured for {', '.join(lacking)}"
    if ways[key] not in ("higher", "lower"):
        return "neither more nor less of it is better"
    if len({number(value) for value in values.values()}) == 1:
        return "the same for all"
    return ""


def _scaled(values: Mapping[str, float], better: str) -> dict[str, float]:
    """Distance from the middle by system: 1 for the best, ``INNER`` for the worst."""
    low, high = min(values.values()), max(values.values())
    best, worst = (high, low) if better == "higher" else (low, high)
    return {s: INNER + (1 - INNER) * (v - worst) / (best - worst) for s, v in values.items()}


def _axis(
    k: int,
    names: Sequence[str],
    systems: Mapping[str, Mapping[str, float]],
    directions: Mapping[str, str],
) -> Axis:
    key = names[k]
    values = sorted(found[key] for found in systems.values())
    best, worst = values[-1], values[0]
    if directions[key] == "lower":
        best, worst = worst, best
    name = title(key) + ARROWS[directions[key]]
    return Axis(name, _at(k, len(names), 1.0), number(best), number(worst))


def _at(k: int, count: int, reach: float) -> Point:
    """The place on axis k of ``count``, the first upwards, the others clockwise."""
    angle = 2 * math.pi * k / count
    return RIM + reach * RIM * math.sin(angle), RIM - reach * RIM * math.cos(angle)


def _points(corners: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
