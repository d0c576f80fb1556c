"""Several systems on one benchmark: real differences, a wheel, ablations, papers' figures.

A number is called better or worse only where the paired 95 % interval of its difference to the
first system's, over the videos that both have, leaves 0 on one side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.files import write_json
from evaluation import tables
from evaluation.ablation import Ablation, ablation, drawn, printed
from evaluation.differences import Gaps, Result, differences, verdict, write_differences
from evaluation.published import MARK
from evaluation.published.runs import tables_for
from evaluation.radar import radar
from evaluation.report import Report, plain
from evaluation.stats import Interval
from evaluation.video_numbers import contest, layout, title
from evaluation.video_report import columns, measured_line, write_tables

FILE = "compare.json"
VERSION = 1
_DIFFERENCES = (
    "Each system less {}, video by video, with 95 % intervals. Numbers that are the same for all "
    "are left out."
)


def compare(results: Sequence[Result], folder: Path, ablate: str = "") -> Path:
    """Writes a page, ``compare.json``, ``table.csv``, ``table.tex``, ``differences.csv``; gives the
    page.

    Args:
        results: each as ``scores.json`` holds it; others are compared with the first.
        folder: where to.
        ablate: what was varied, see ``evaluation.ablation.ablation``; "" for nothing.

    Raises:
        InputError: fewer than two results, not of one benchmark and manifest, or two of one name.
    """
    found = ablation(ablate, results) if ablate else None
    named = _named(results, found)
    _same_videos(named)
    first, directions = named[0], _directions(named)
    gaps = {str(r["system"]): differences(first, r) for r in named[1:]}
    marks = {
        s: {n: verdict(g, directions.get(n)) for n, g in row.items()} for s, row in gaps.items()
    }
    report = Report(f"{len(named)} systems on {first['benchmark']}", drawn="videos", file=FILE)
    report.add_section("Numbers", " ".join(dict.fromkeys(measured_line(r) for r in named)))
    values, ends = columns(named)
    report.add_laid_out("table", layout(values, ends, directions, marks), _legend(first, gaps))
    _wheel(report, values, directions)
    report.add_section("Differences", _DIFFERENCES.format(first["system"]))
    report.add_laid_out("table", _gap_table(gaps, marks, directions))
    if found is not None:
        _ablation(report, found, results)
    _published(report, str(first["benchmark"]))
    write_json(folder / FILE, _json(named, gaps, marks, found))
    write_tables(folder, named, marks)
    write_differences(folder, gaps, marks)
    return report.write(folder)[1]


# -- what is compared -----------------------------------------------------------------------------


def _named(results: Sequence[Result], found: Ablation | None) -> list[Result]:
    """Results under names that tell them apart."""
    names = [str(r["system"]) for r in results]
    if found is not None and len(set(names)) < len(names):
        names = [f"{n}, {found.name} {v}" for n, v in zip(names, found.values, strict=True)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"two results are called {twice[0]}; evaluate one with another --system")
    return [{**r, "system": n} for r, n in zip(results, names, strict=True)]


def _same_videos(results: Sequence[Result]) -> None:
    kinds = {(r["benchmark"], r["manifest"]["hash"]) for r in results}
    if len(results) < 2:
        raise InputError("one result can't be compared; name two that 'flashlips evaluate' wrote")
    if len(kinds) > 1:
        names = " and ".join(sorted(f"{b} ({h})" for b, h in kinds))
        raise InputError(f"only results on the same videos are compared; these are on {names}")


def _directions(results: Sequence[Result]) -> dict[str, str]:
    """Of all numbers, in the order of tables."""
    known = {n: way for r in results for n, way in r["directions"].items()}
    return contest({n for r in results for n in r["values"]}, known)


# -- the page -------------------------------------------------------------------------------------


def _legend(first: Result, gaps: Gaps) -> str:
    compared = sum(len(row) for row in gaps.values())
    return (
        f"▲ better, ▼ worse, ◆ different from {first['system']}: the paired 95 % interval of the "
        "difference, over the videos that both have, leaves 0 on one side. Where nothing differs, "
        f"about {max(1, round(0.05 * compared))} of {compared} comparisons would still get a mark "
        "by chance. Numbers of whole sets (Fréchet distances) have no interval and no mark."
    )


def _wheel(
    report: Report, values: Mapping[str, Mapping[str, float]], directions: Mapping[str, str]
) -> None:
    wheel = radar(values, directions)
    if wheel is None:
        return
    told = (
        "Outward is better. On each axis the best of these systems lies on the rim, the worst on "
        "the inner ring; small figures are both. The wheel tells who is where, not by how much."
    )
    report.add_section("At a glance", told)
    left = f"Not on the wheel: {'; '.join(wheel.left_out)}." if wheel.left_out else ""
    report.add_laid_out("radar", wheel, left)


def _gap_table(
    gaps: Gaps, marks: Mapping[str, Mapping[str, str]], directions: Mapping[str, str]
) -> tables.Table:
    """Differences with intervals and marks, a column for each system."""
    known = {n for row in gaps.values() for n, gap in row.items() if gap.value != 0}
    numbers = [n for n in directions if n in known]
    nothing = Interval(np.nan, np.nan, np.nan)
    rows = []
    for system, row in gaps.items():
        found = [(row.get(n, nothing), marks[system].get(n, "")) for n in numbers]
        cells = tuple(tables.Cell(_signed(g.value), _span(g), False, mark) for g, mark in found)
        rows.append(tables.Row(system, cells, False))
    titles = tuple(title(n) + tables.ARROWS.get(directions[n], "") for n in numbers)
    return tables.Table(titles, tuple(rows), tuple(numbers), turned=True)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{tables.number(abs(value))}"


def _span(gap: Interval) -> str:
    return f"{_signed(gap.low)} … {_signed(gap.high)}" if np.isfinite(gap.low) else ""


def _ablation(report: Report, found: Ablation, results: Sequence[Result]) -> None:
    panels = drawn(found, results)
    report.add_section(f"Ablation: {panels.x_name}", "Bars are 95 % intervals; videos are drawn.")
    report.add_laid_out("panels", panels)
    for caption, theirs in printed(found.name, str(results[0]["benchmark"])).items():
        report.add_laid_out("panels", theirs, f"{caption}: {MARK}, on axes of their own.")


def _published(report: Report, benchmark: str) -> None:
    known = tables_for(benchmark)
    if not known:
        return
    told = (
        "What papers print in this setting, on videos, crops and nets of their own: the same "
        "LatentSync has an FVD of 36 in one paper and 163 in another. Nothing here is ranked with "
        "the numbers above, nor coloured."
    )
    report.add_section("Published figures", told)
    for table in known:
        report.add_laid_out("published", table)


# -- for machines ---------------------------------------------------------------------------------


def _json(
    results: Sequence[Result],
    gaps: Gaps,
    marks: Mapping[str, Mapping[str, str]],
    found: Ablation | None,
) -> dict[str, Any]:
    """What ``compare.json`` holds; published figures lie under a key of their own."""
    first = results[0]
    kept = ("system", "values", "intervals", "measured", "pairs", "complete", "revision")
    return {
        "version": VERSION,
        "benchmark": first["benchmark"],
        "manifest": first["manifest"]["hash"],
        "directions": _directions(results),
        "systems": [{key: r[key] for key in kept} for r in results],
        "against": first["system"],
        "differences": {
            system: {
                n: plain({**asdict(gap), "verdict": marks[system][n]}) for n, gap in row.items()
            }
            for system, row in gaps.items()
        },
        "ablation": None if found is None else asdict(found),
        "published": [asdict(table) for table in tables_for(str(first["benchmark"]))],
    }
