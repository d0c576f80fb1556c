"""What a benchmark gave: ``scores.json``, a page with players, and tables as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import read_json, write_bytes, write_json
from evaluation import tables
from evaluation.machine import machine, revision
from evaluation.metrics.speed import DIRECTIONS, Speed
from evaluation.report import Report, plain
from evaluation.scores import Scores
from evaluation.video_numbers import FACTS, layout, ordered
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
        mine = [n for n in numbers if n in own or n.startswith(name)]
        found |= {n: own.get(n, metric.better) for n in mine if n in own or not n.endswith(FACTS)}
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
    report = Report(f"{system} on {found['benchmark']}", measured_line(found), "videos", FILE)
    report.note(checkpoint=found["checkpoint"])
    report.add_section("Numbers", "Means over videos with 95 % intervals; videos are drawn.")
    values, ends = columns([found])
    report.add_laid_out("table", layout(values, ends, found["directions"]))
    if found["groups"]:
        kinds = layout(_floats(found["groups"]), {}, found["directions"], rivals=False)
        report.add_laid_out("table", kinds, "By kind and category of pairs.")
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
    videos = layout(_floats(found["videos"]), {}, found["directions"], rivals=False)
    report.add_laid_out("table", replace(videos, turned=False, corner="video"))
    report.add_section("What was measured")
    report.add_card("Benchmark", {**found["manifest"]["facts"], "hash": found["manifest"]["hash"]})
    report.add_card("Machine", found["machine"])
    write_json(folder / FILE, dict(found))
    write_tables(folder, [found])
    return report.write(folder)[1]


def columns(results: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values and intervals by system, with NaN for what JSON holds as null."""
    values = _floats({r["system"]: r["values"] for r in results})
    ends = {
        r["system"]: {k: (_float(a), _float(b)) for k, (a, b) in r["intervals"].items()}
        for r in results
    }
    return values, ends


def _floats(rows: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    return {name: {n: _float(v) for n, v in row.items()} for name, row in rows.items()}


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


LATEX = {"better": "$^{+}$", "worse": "$^{-}$", "different": r"$^{\neq}$"}
"""How a real difference from the first row is shown."""


def write_tables(
    folder: Path,
    results: Sequence[Mapping[str, Any]],
    marks: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """The numbers as CSV and LaTeX.

    Args:
        folder: where to.
        results: one row each.
        marks: system -> number -> key of ``LATEX`` or "", shown in LaTeX alone.
    """
    names = ordered({n for r in results for n in r["values"]})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["system", "benchmark", "measured", "pairs", *names])
    for r in results:
        row = [r["values"].get(n) for n in names]
        writer.writerow([r["system"], r["benchmark"], r["measured"], r["pairs"], *row])
    write_bytes(folder / "table.csv", text.getvalue().encode())

    def cell(result: Mapping[str, Any], number: str) -> str:
        mark = (marks or {}).get(result["system"], {}).get(number, "")
        shown = tables.number(_float(result["values"].get(number))).replace("–", "--")
        return shown + LATEX.get(mark, "")

    head = " & ".join(["", *map(_tex, names)])
    body = [" & ".join([_tex(r["system"]), *(cell(r, n) for n in names)]) for r in results]
    rows = [rf"{line} \\" for line in (head, *body)]
    lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", *rows, r"\end{tabular}", ""]
    if any(found for row in (marks or {}).values() for found in row.values()):
        lines.insert(0, f"% + better, - worse than {results[0]['system']} (paired 95 % interval)")
    write_bytes(folder / "table.tex", "\n".join(lines).encode())


def _tex(name: str) -> str:
    """A name with LaTeX's special characters escaped."""
    return "".join(f"\\{c}" if c in "_&%#$" else c for c in name)


def ends(found: Mapping[str, Any], number: str, count: int = ENDS) -> list[tuple[str, float]]:
    """The worst and the best videos of a number: (pair, value), the worst first."""
    sign = 1 if found["directions"].get(number) == "higher" else -1
    known = [(p, float(v[number])) for p, v in found["videos"].items() if v.get(number) is not None]
    order = sorted(known, key=lambda item: (sign * item[1], item[0]))
    return order if len(order) <= 2 * count else [*order[:count], *order[-count:]]
