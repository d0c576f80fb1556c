"""What a benchmark gave: ``scores.json``, a page with players, and tables as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.files import read_json, write_bytes, write_json
from evaluation import tables
from evaluation.machine import machine, revision
from evaluation.metrics.speed import DIRECTIONS, Speed
from evaluation.report import Report, plain
from evaluation.scores import Scores
from evaluation.stats import Interval, paired_difference
from evaluation.videos import Missing, VideoMetric

FILE = "scores.json"
VERSION = 1
ENDS = 10
"""Worst and best videos that are shown."""


def directions(metrics: Mapping[str, VideoMetric], numbers: Sequence[str]) -> dict[str, str]:
    """Which way each number is better; a metric may say so number by number (``directions``)."""
    found: dict[str, str] = {}
    for name, metric in metrics.items():
        own = dict(getattr(metric, "directions", {}))
        found |= {n: own.get(n, metric.better) for n in numbers if n in own or n.startswith(name)}
    return found


def groups(scores: Scores, manifest: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Numbers of each kind and of each category of pairs, where there are several."""
    found: dict[str, dict[str, float]] = {}
    for by in ("kind", "category"):
        names: dict[str, set[str]] = {}
        for pair in manifest["pairs"]:
            names.setdefault(pair[by], set()).add(pair["name"])
        if len(names) > 1:
            found |= {name: scores.only(pairs).values() for name, pairs in sorted(names.items())}
    return found


def result(
    scores: Scores,
    manifest: Mapping[str, Any],
    system: str,
    missing: Sequence[Missing] = (),
    card: Mapping[str, Any] | None = None,
    speed: Speed | None = None,
) -> dict[str, Any]:
    """All that is known of one evaluation, as ``scores.json`` holds it.

    Args:
        scores: what was measured.
        manifest: of the benchmark's pairs.
        system: who made the videos.
        missing: metrics that were not computed.
        card: of the checkpoint, where one is known.
        speed: of editing, where it was measured.
    """
    values, ends = scores.values(), scores.intervals()
    ways = directions(scores.metrics, list(values))
    if speed is not None:
        values |= speed.numbers()
        ways |= {n: way for n, way in DIRECTIONS.items() if n in values}
    return {
        "version": VERSION,
        "system": system,
        "benchmark": manifest["benchmark"],
        "manifest": manifest,
        "pairs": len(scores.pairs),
        "measured": scores.measured,
        "complete": scores.complete,
        "values": plain(values),
        "intervals": {k: plain([e.low, e.high]) for k, e in ends.items()},
        "groups": plain(groups(scores, manifest)),
        "directions": ways,
        "videos": plain(scores.by_video()),
        "notes": scores.notes(),
        "failures": dict(sorted(scores.failures.items())),
        "missing": plain([vars(m) for m in missing]),
        "checkpoint": plain(card) if card else None,
        "machine": machine(),
        "revision": revision(),
    }


def read_result(path: Path) -> dict[str, Any]:
    """A ``scores.json``, or the one in a folder.

    Raises:
        InputError: there is none, or it is of another version.
    """
    path = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise InputError(f"there is no {path}; name a folder that 'flashlips evaluate' wrote")
    found: dict[str, Any] = read_json(path)
    if found.get("version") != VERSION:
        raise InputError(f"{path} is of version {found.get('version')}, this code reads {VERSION}")
    return found


def measured_line(found: Mapping[str, Any]) -> str:
    """How much of a benchmark was measured, as a sentence."""
    if found["complete"]:
        return f"All {found['pairs']} videos of {found['benchmark']} were measured."
    return (
        f"Incomplete: {found['measured']} of {found['pairs']} videos of {found['benchmark']} were "
        f"measured, {len(found['failures'])} rows failed."
    )


def write(
    folder: Path, found: Mapping[str, Any], players: Mapping[str, bytes] | None = None
) -> Path:
    """Writes ``scores.json``, ``report.html``, ``table.csv`` and ``table.tex``; gives the page.

    Args:
        folder: where to.
        found: see ``result``.
        players: caption -> mp4 of source and output side by side, in the order of the page.
    """
    system = str(found["system"])
    report = Report(f"{system} on {found['benchmark']}", measured_line(found))
    report.note(checkpoint=found["checkpoint"])
    report.add_section("Numbers", "Means over videos with 95 % intervals; videos are drawn.")
    report.add_table("", *_columns([found]), apart=())
    if found["groups"]:
        rows = {k: {n: _float(v) for n, v in g.items()} for k, g in found["groups"].items()}
        report.add_table("By kind and category of pairs.", rows, apart=())
    for name, note in found["notes"].items():
        report.add_text(f"{name}: {note}")
    if found["missing"]:
        lines = [
            f"{m['name']}: needs {' and '.join(m['weights'])}; {m['remedy']}"
            for m in found["missing"]
        ]
        report.add_section("Not computed", "\n\n".join(lines))
    if found["manifest"].get("without_sound"):
        mute = ", ".join(found["manifest"]["without_sound"])
        report.add_section("Left out", f"Files without sound, which are no pair's: {mute}.")
    if found["failures"]:
        lines = [f"{name}: {why}" for name, why in found["failures"].items()]
        report.add_section("Not measured", "\n\n".join(lines))
    if players:
        report.add_section("Worst and best", "Source on the left, output on the right.")
        for caption, video in players.items():
            report.add_video(caption, video)
    report.add_section("Every video")
    report.add_table("", found["videos"], apart=())
    report.add_section("What was measured")
    report.add_card("Benchmark", {**found["manifest"]["facts"], "hash": found["manifest"]["hash"]})
    report.add_card("Machine", found["machine"])
    write_json(folder / FILE, dict(found))
    _tables(folder, [found])
    return report.write(folder)[1]


def compare(results: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Several systems on one benchmark: a table that marks real differences; gives the page.

    A number is called better only where the paired 95 % interval of its difference to the first
    system's, over the videos that both have, leaves 0 on one side.

    Raises:
        InputError: the results are not of one benchmark and manifest.
    """
    kinds = {(r["benchmark"], r["manifest"]["hash"]) for r in results}
    if len(kinds) > 1 or len(results) < 2:
        names = " and ".join(sorted(f"{b} ({h})" for b, h in kinds))
        raise InputError(f"only results on the same videos are compared; these are on {names}")
    first = results[0]
    report = Report(f"{len(results)} systems on {first['benchmark']}")
    report.add_section("Numbers", " ".join(measured_line(r) for r in results))
    report.add_table("", *_columns(results), apart=())
    for other in results[1:]:
        rows = [f"{n}: {said(gap, first['directions'].get(n))}" for n, gap in gaps(first, other)]
        title = f"{other['system']} against {first['system']}"
        report.add_section(title, "\n\n".join(rows) or "No video was measured in both.")
    _tables(folder, results)
    return report.write(folder)[1]


def _columns(results: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values and intervals by system, with NaN for what JSON holds as null."""
    values = {r["system"]: {k: _float(v) for k, v in r["values"].items()} for r in results}
    ends = {
        r["system"]: {k: (_float(a), _float(b)) for k, (a, b) in r["intervals"].items()}
        for r in results
    }
    return values, ends


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def gaps(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Interval]]:
    """``theirs`` minus ``ours`` for each number of single videos, paired."""
    both = sorted(ours["videos"].keys() & theirs["videos"].keys())
    found = []
    for number in sorted({n for v in ours["videos"].values() for n in v}):
        pairs = [(theirs["videos"][v].get(number), ours["videos"][v].get(number)) for v in both]
        known = np.array([(a, b) for a, b in pairs if a is not None and b is not None], float)
        if len(known):
            found.append((number, paired_difference(known[:, 0], known[:, 1], block=1)))
    return found


def said(gap: Interval, better: str | None) -> str:
    """A difference in words."""
    text = f"{gap.value:+.4g} ({gap.low:+.4g} to {gap.high:+.4g})"
    if not (gap.low > 0 or gap.high < 0):
        return f"{text}, no difference that videos drawn anew would keep"
    if better not in ("higher", "lower"):
        return f"{text}, different"
    return f"{text}, {'better' if (gap.low > 0) == (better == 'higher') else 'worse'}"


def _tables(folder: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """The numbers as CSV and LaTeX."""
    names = sorted({n for r in results for n in r["values"]})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["system", "benchmark", "measured", "pairs", *names])
    for r in results:
        row = [r["values"].get(n) for n in names]
        writer.writerow([r["system"], r["benchmark"], r["measured"], r["pairs"], *row])
    write_bytes(folder / "table.csv", text.getvalue().encode())
    head = " & ".join(["", *(n.replace("_", r"\_") for n in names)])
    body = [
        " & ".join([
            str(r["system"]).replace("_", r"\_"),
            *(tables.number(_float(r["values"].get(n))).replace("–", "--") for n in names),
        ])
        for r in results
    ]  # fmt: skip
    rows = [rf"{line} \\" for line in (head, *body)]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", *rows, r"\end{tabular}", ""]
    write_bytes(folder / "table.tex", "\n".join(lines).encode())


def ends(found: Mapping[str, Any], number: str, count: int = ENDS) -> list[tuple[str, float]]:
    """The worst and the best videos of a number: (pair, value), the worst first."""
    sign = 1 if found["directions"].get(number) == "higher" else -1
    known = [(p, float(v[number])) for p, v in found["videos"].items() if v.get(number) is not None]
    order = sorted(known, key=lambda item: (sign * item[1], item[0]))
    return order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
