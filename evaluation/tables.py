"""Numbers by system as a table with the best of each column marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from evaluation.metrics import DIRECTIONS, TITLES

T = TypeVar("T")
Numbers = Mapping[str, float]
Ends = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Cell:
    """A number as text, its interval as text (may be empty), whether it is the best of its number.

    ``mark`` is a real difference from the row compared with: a key of ``MARKS``, or empty.
    """

    text: str
    interval: str
    best: bool
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """A system's cells; ``apart`` rows (a ceiling) take no part in the contest."""

    name: str
    cells: tuple[Cell, ...]
    apart: bool


@dataclass(frozen=True)
class Table:
    """Column titles with an arrow for the better direction, and rows.

    ``keys`` are the columns' numbers; a ``turned`` table shows systems as columns; ``corner`` says
    what rows are.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: tuple[str, ...] = ()
    turned: bool = False
    corner: str = "system"


MARKS = {"better": "▲", "worse": "▼", "different": "◆"}
"""How a real difference is shown; its words stand beside it for those who hear the page."""


CEILINGS = ("codec", "codec_taef2")
"""Rows that are shown apart: what codecs alone leave of the truth."""

ARROWS = {"higher": "\u00a0↑", "lower": "\u00a0↓", "one": "\u00a0→\u00a01"}
UNCONTESTED = ("outside_psnr",)
"""Numbers without a best: baselines paste into the truth and win outside M by doing nothing."""


def number(value: float | None) -> str:
    """A number at the precision a reader can use: 3 to 4 digits; a dash when there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.3f}"


def interval(ends: tuple[float, float] | None) -> str:
    """An interval as text; empty when there is none."""
    if ends is None or not np.isfinite(ends).all():
        return ""
    return f"{number(ends[0])} … {number(ends[1])}"


def best_of(values: Mapping[str, float], better: str) -> set[str]:
    """Names of the best of some finite values; all that share the first place as printed."""
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    if len(known) < 2:
        return set()
    cost = {
        name: -value if better == "higher" else value if better == "lower" else abs(value - 1)
        for name, value in known.items()
    }
    least = min(cost.values())
    shown = {number(known[name]) for name in known if cost[name] == least}
    return {name for name in known if number(known[name]) in shown}


def pick(values: Mapping[str, T], name: str) -> dict[str, dict[str, T]]:
    """Numbers of one clip by system: ``{"<clip>.<system>.<number>": v}`` to ``{system: {...}}``."""
    found: dict[str, dict[str, T]] = {}
    for key, value in values.items():
        clip, system, metric = key.split(".", 2)
        if clip == name:
            found.setdefault(system, {})[metric] = value
    return found


def medians(values: Numbers, name: str, clips: Sequence[str] | None = None) -> dict[str, float]:
    """Median over clips of each system's numbers, by ``<name>.<system>.<number>``.

    Args:
        values: by ``<clip>.<system>.<number>``.
        name: what the whole is called.
        clips: which clips; all by default.
    """
    groups: dict[str, list[float]] = {}
    for key, value in values.items():
        clip, rest = key.split(".", 1)
        if clips is None or clip in clips:
            groups.setdefault(rest, []).append(value)
    found = {}
    for rest, group in groups.items():
        known = [value for value in group if np.isfinite(value)]
        found[f"{name}.{rest}"] = float(np.median(known)) if known else float("nan")
    return found


def table(
    systems: Mapping[str, Numbers],
    intervals: Mapping[str, Ends] | None = None,
    apart: Sequence[str] = CEILINGS,
    directions: Mapping[str, str] = DIRECTIONS,
    titles: Mapping[str, str] = TITLES,
) -> Table:
    """Lays out numbers by system.

    Args:
        systems: numbers by system or baseline, in the order of rows.
        intervals: 95 % ends, likewise.
        apart: systems that are shown below and never marked best (codecs: ceilings).
        directions: number -> "higher", "lower", "one", or "" for one without a best; it also fixes
            which columns are shown, and in which order.
        titles: how columns are called.
    """
    present = {key for values in systems.values() for key in values}
    unknown = sorted(present - directions.keys()) if not present & directions.keys() else []
    names = [key for key in directions if key in present] + unknown
    best = {
        key: best_of(
            {s: values[key] for s, values in systems.items() if key in values and s not in apart},
            directions.get(key, "higher"),
        )
        for key in names
        if directions.get(key) and key not in UNCONTESTED
    }
    rows = []
    for system in sorted(systems, key=lambda s: s in apart):
        ends = (intervals or {}).get(system, {})
        cells = tuple(
            Cell(
                number(systems[system].get(key)),
                interval(ends.get(key)),
                system in best.get(key, set()),
            )
            for key in names
        )
        rows.append(Row(system.replace("_", " "), cells, system in apart))
    columns = tuple(
        titles.get(key, key.replace("_", " ")) + ARROWS.get(directions.get(key, ""), "")
        for key in names
    )
    return Table(columns, tuple(rows), tuple(names))
