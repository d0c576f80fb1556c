"""One thing varied over several results: its values, and numbers drawn over them.

What papers print of the same ablation gets panels of its own, dashed and marked: no axis ever holds
both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from evaluation.panels import Panels, Point, panel
from evaluation.published import MARK, Published, published
from evaluation.published.runs import SETTINGS
from evaluation.video_numbers import contest, title


@dataclass(frozen=True)
class Ablation:
    """What was varied, and its value in each result, in their order."""

    name: str
    values: tuple[str, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """The values along x: by size where they are numbers, else as they came."""
        return _places(self.values)


def _refs(card: Mapping[str, Any]) -> str:
    """Reference lips vectors (K) of audio-to-lips."""
    return str(card["references"])


def _lips(card: Mapping[str, Any]) -> str:
    """Length of the lips vector as Table 5 has it: main + residual."""
    encoder = card["net"]["lips_encoder"]
    main, residual = int(encoder["main"]), int(encoder["residual"])
    return f"{main}+{residual}" if residual else str(main)


CARDS = {"refs": _refs, "lips": _lips}
"""Ablations whose value stands in a result's checkpoint card under a name of their own."""
TITLES = {
    "refs": "reference lips vectors", "lips": "lips dimensions, main + residual",
    "mask": "mask in the editor's input",
}  # fmt: skip
PRINTED = {
    "refs": ("C.5", r"(?P<line>.+), (?P<value>\d+) reference latents"),
    "lips": ("5", r"(?P<line>.+, V1) (?P<value>\d+)D(?: \+ V2 (?P<more>\d+)D)?"),
    "mask": ("C.5", r"(?P<line>.+) (?P<value>with Mask|Mask-free), 4 reference latents"),
}
"""Ablation -> table of FlashLips, and how its rows tell the value; 3 and 4 are rows of C.5."""


def ablation(text: str, results: Sequence[Mapping[str, Any]]) -> Ablation:
    """What ``--ablate`` asks for: ``refs``, ``lips``, a path in the card such as ``net.latent``, or
    ``NAME=V,V,...`` with a value for each result.

    Raises:
        InputError: a result whose card does not tell, or another count of values than of results.
    """
    name, given, listed = text.partition("=")
    if given:
        values = tuple(value.strip() for value in listed.split(","))
        if len(values) != len(results) or not all(values):
            raise InputError(
                f"--ablate {text} names {len(values)} values for {len(results)} results; name one "
                "for each, in their order"
            )
    else:
        values = tuple(_of_card(name, result) for result in results)
    if len(set(values)) < 2:
        raise InputError(f"all results have {name} {values[0]}; an ablation needs two values")
    return Ablation(name, values)


def _of_card(name: str, result: Mapping[str, Any]) -> str:
    card: Any = result["checkpoint"]
    try:
        if name in CARDS:
            return CARDS[name](card)
        for part in name.split("."):
            card = card[part]
        return str(card)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the card of {result['system']} does not tell {name}; give --ablate {name}=V,V,... "
            "with a value for each result"
        ) from error


def lines(found: Ablation, systems: Sequence[str]) -> list[str]:
    """To which line each result belongs: its system's, or one of all where no system has two."""
    if len(set(systems)) == len(systems):
        return ["ours"] * len(systems)
    return list(systems)


def drawn(found: Ablation, results: Sequence[Mapping[str, Any]]) -> Panels:
    """A panel for each number that two results share.

    Raises:
        InputError: two results of one line have the same value.
    """
    owners = lines(found, [str(r["system"]) for r in results])
    taken = list(zip(owners, found.values, strict=True))
    twice = sorted({" with ".join(key) for key in taken if taken.count(key) > 1})
    if twice:
        raise InputError(f"two results are {twice[0]}; leave one, or name systems apart")
    ways = contest({n for r in results for n in r["values"]}, _directions(results))
    panels = []
    for number, way in ways.items():
        points: dict[str, list[Point]] = {}
        for owner, value, result in zip(owners, found.values, results, strict=True):
            y, ends = result["values"].get(number), result["intervals"].get(number)
            if way and y is not None:
                span = None if ends is None or None in ends else (ends[0], ends[1])
                points.setdefault(owner, []).append(Point(found.places.index(value), y, span))
        if len({p.y for line in points.values() for p in line}) > 1:
            panels.append(panel(title(number), points, found.places, way))
    names = tuple(dict.fromkeys(owners))
    return Panels(names, tuple(panels), TITLES.get(found.name, found.name))


def printed(name: str, benchmark: str) -> dict[str, Panels]:
    """What papers print of an ablation, by a caption; empty where they print none.

    Args:
        name: of the ablation.
        benchmark: ours; where a setting of the papers fits it, only that is
            shown, else all.
    """
    if name not in PRINTED:
        return {}
    table, pattern = PRINTED[name]
    fitting = SETTINGS.get(benchmark.partition("@")[0])
    rows = [r for r in published() if (r.paper, r.table) == ("flashlips", table)]
    settings = dict.fromkeys(r.setting for r in rows)
    return {
        f"FlashLips, Table {table}, {setting}": _printed(
            [r for r in rows if r.setting == setting], pattern, TITLES[name]
        )
        for setting in settings
        if fitting in (None, setting)
    }


def _printed(rows: Sequence[Published], pattern: str, x_name: str) -> Panels:
    """Panels of one table in one setting."""
    read = [(row, re.fullmatch(pattern, row.system)) for row in rows]
    told = [(row, *_told(match)) for row, match in read if match is not None]
    places = _places(tuple(value for _, _, value in told))
    values_of: dict[str, set[str]] = {}
    for _, line, value in told:
        values_of.setdefault(line, set()).add(value)
    names = tuple(line for line, values in values_of.items() if len(values) > 1)
    panels = []
    for metric, better in {row.metric: row.better for row in rows}.items():
        points: dict[str, list[Point]] = {name: [] for name in names}
        for row, line, value in told:
            if row.metric == metric and line in points:
                points[line].append(Point(places.index(value), row.value))
        panels.append(panel(metric, points, places, better))
    return Panels(names, tuple(panels), x_name, MARK)


def _told(match: re.Match[str]) -> tuple[str, str]:
    """Line and value of a row; the residual's dimensions are a line of their own."""
    more = match.groupdict().get("more")
    if not more:
        return match["line"], match["value"]
    return f"{match['line']} + V2", f"{match['value']}+{more}"


def _places(values: Sequence[str]) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(values))
    try:
        return tuple(sorted(known, key=lambda v: [v.count("+"), *map(float, v.split("+"))]))
    except ValueError:
        return known


def _directions(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {n: way for r in results for n, way in r["directions"].items()}
