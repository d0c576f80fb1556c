"""One report.json for machines, one report.html for people: it opens from disk, alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from core.files import read_json, write_bytes, write_json
from evaluation import charts, pictures, tables
from evaluation.gates import Gate, strip
from evaluation.machine import machine, revision

TEMPLATES = Path(__file__).parent / "templates"
VIDEO_LIMIT = 8_000_000
"""Bytes of one embedded player; a bigger one is named instead. Base64 makes it a third more."""
PAGE_VIDEO_LIMIT = 40_000_000
"""Bytes of all players of a page: beyond it browsers on phones give up."""
REAL_TIME_FPS = 25.0
RESERVED = ("codec", "gflop_per_frame", "fps", "checkpoint")
"""Keys that are always there, null when nobody gave them."""


@dataclass(frozen=True)
class Block:
    """One part of the page: ``kind`` names the template's macro, ``data`` is what it draws."""

    kind: str
    data: Any
    caption: str = ""


def plain(value: Any) -> Any:
    """A value as JSON can hold it: arrays to lists, numbers that are not finite to null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


class Report:
    """Collects parts in the order in which they are read, then writes them.

    Every ``add_*`` gives the report back, so that calls can be chained.

    Args:
        title: what was measured, as a heading.
        subtitle: one sentence: on what, and what it means.
        drawn: what is drawn anew for intervals; the page's foot says it.
        file: where the same numbers stand for machines; the page's foot says it.
    """

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        drawn: str = "blocks of neighbouring frames",
        file: str = "report.json",
    ) -> None:
        self.title, self.subtitle, self.drawn, self.file = title, subtitle, drawn, file
        self._blocks: list[Block] = []
        self._numbers: dict[str, float] = {}
        self._ends: dict[str, tuple[float, float]] = {}
        self._gates: list[Gate] = []
        self._curves: dict[str, Any] = {}
        self._notes: dict[str, Any] = dict.fromkeys(RESERVED)
        self._video_bytes = 0

    # -- for machines --

    def values(
        self,
        numbers: Mapping[str, float],
        intervals: Mapping[str, tuple[float, float]] | None = None,
    ) -> Report:
        """Numbers by ``<clip or corpus>.<system or baseline>.<number>``, top-level in report.json;
        their 95 % intervals by the same keys under ``intervals``."""
        for key in numbers:
            assert key.count(".") == 2, f"{key!r} must read <clip or corpus>.<system>.<number>"
        self._numbers |= numbers
        self._ends |= intervals or {}
        return self

    def note(self, **entries: Any) -> Report:
        """Top-level entries of report.json: ``codec``, ``gflop_per_frame``, ``fps`` (by part),
        ``checkpoint`` (its card) and whatever else a machine should know."""
        self._notes |= plain(entries)
        return self

    # -- for people --

    def add_section(self, heading: str, text: str = "") -> Report:
        """Starts a section; ``text`` is paragraphs separated by an empty line."""
        return self._add("section", [p for p in text.split("\n\n") if p], heading)

    def add_text(self, text: str) -> Report:
        """Paragraphs, separated by an empty line."""
        return self._add("text", [p for p in text.split("\n\n") if p])

    def add_gates(self, gates: Sequence[Gate], caption: str = "") -> Report:
        """A table of gates with their intervals; also ``gates`` in report.json."""
        self._gates += gates
        return self._add("gates", [strip(gate) for gate in gates], caption)

    def add_table(
        self,
        caption: str,
        systems: Mapping[str, Mapping[str, float]],
        intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
        apart: Sequence[str] = tables.CEILINGS,
    ) -> Report:
        """Numbers by system or baseline, the best of each column marked; see ``tables.table``."""
        return self._add("table", tables.table(systems, intervals, apart), caption)

    def add_laid_out(self, kind: str, data: Any, caption: str = "") -> Report:
        """What was laid out elsewhere: a ``tables.Table`` ("table"), ``radar.Radar`` ("radar"),
        ``panels.Panels`` ("panels") or ``published.runs.PublishedTable`` ("published")."""
        return self._add(kind, data, caption)

    def add_numbers(self, caption: str, name: str, order: Sequence[str] = ()) -> Report:
        """The table of one clip or corpus from what ``values`` was given.

        Args:
            caption: above the table.
            name: the clip or corpus.
            order: systems that come first; the others follow as given.
        """
        systems = tables.pick(self._numbers, name)
        ends = tables.pick(self._ends, name)
        first = [system for system in order if system in systems]
        ordered = {s: systems[s] for s in [*first, *(s for s in systems if s not in first)]}
        return self.add_table(caption, ordered, ends)

    def add_picture(self, caption: str, image: np.ndarray, rows: Sequence[str] = ()) -> Report:
        """A picture (H,W,3 uint8 RGB); ``rows`` names equally high rows of it, top to bottom."""
        height, width = image.shape[:2]
        uri = pictures.data_uri(pictures.jpeg(image), "image/jpeg")
        data = {"uri": uri, "width": width, "height": height, "rows": list(rows)}
        return self._add("picture", data, caption)

    def add_sheet(
        self, caption: str, before: np.ndarray, after: np.ndarray, columns: int = 8
    ) -> Report:
        """A contact sheet: before, after, difference; (T,h,w,3) uint8 each."""
        image = pictures.contact_sheet(before, after, columns)
        return self.add_picture(caption, image, pictures.SHEET_ROWS)

    def add_curves(
        self,
        caption: str,
        series: Mapping[str, charts.Series],
        x_name: str = "",
        y_name: str = "",
        log_y: bool = False,
        from_zero: bool = False,
    ) -> Report:
        """Curves, the first in ink (a reference), the others in colour; also in report.json.

        Args:
            caption: below the chart; its name in report.json.
            series: y values, or (x values, y values), by name.
            x_name: the x axis in words.
            y_name: the y axis in words.
            log_y: logarithmic, with each line's last value in the legend: for losses.
            from_zero: whether the y axis must reach down to 0: for openings.
        """
        self._curves[caption] = {
            name: {"x": s[0], "y": s[1]} if isinstance(s, tuple) else {"y": s}
            for name, s in series.items()
        }
        return self._add("curves", charts.chart(series, x_name, y_name, log_y, from_zero), caption)

    def add_video(self, caption: str, video: Path | bytes) -> Report:
        """A player with the mp4 inside the page; a video too big for that is named instead."""
        name = "" if isinstance(video, bytes) else video.name
        data = video if isinstance(video, bytes) else video.read_bytes()
        fits = len(data) <= VIDEO_LIMIT and self._video_bytes + len(data) <= PAGE_VIDEO_LIMIT
        self._video_bytes += len(data) if fits else 0
        uri = pictures.data_uri(data, "video/mp4") if fits else ""
        entry = {"uri": uri, "name": name, "megabytes": f"{len(data) / 1e6:.1f}"}
        return self._add("video", entry, caption)

    def add_speed(self, fps: Mapping[str, float], gflop_per_frame: float | None = None) -> Report:
        """Frames a second by part, as bars beside real time; also ``fps`` in report.json."""
        self.note(fps=dict(fps), gflop_per_frame=gflop_per_frame)
        most = max([2 * REAL_TIME_FPS, *(v for v in fps.values() if np.isfinite(v))])
        # A square root keeps slow parts readable beside fast ones.
        bars = [
            (name.replace("_", " "), tables.number(v), 100 * math.sqrt(max(v, 0) / most))
            for name, v in fps.items()
            if np.isfinite(v)
        ]
        mark = 100 * math.sqrt(REAL_TIME_FPS / most)
        return self._add("speed", {"bars": bars, "mark": mark, "gflop": gflop_per_frame})

    def add_card(self, caption: str, card: Mapping[str, Any]) -> Report:
        """A checkpoint's card or any facts; short values as a list, long ones folded away."""
        short: list[tuple[str, str]] = []
        long: list[tuple[str, str]] = []
        for key, value in plain(card).items():
            text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True)
            (long if len(text) > 90 else short).append((key.replace("_", " "), text))
        return self._add("card", {"short": short, "long": long}, caption)

    # -- to disk --

    def json(self) -> dict[str, Any]:
        """What report.json holds."""
        return {
            **self._notes,
            "title": self.title,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": revision(),
            "machine": machine(),
            "gates": plain([gate.json() for gate in self._gates]),
            "intervals": plain(self._ends),
            "curves": plain(self._curves),
            **plain(self._numbers),
        }

    def html(self, facts: Mapping[str, Any]) -> str:
        """The page; ``facts`` is what ``json`` gave."""
        verdicts = [gate.passed for gate in self._gates]
        return _template().render(
            title=self.title,
            subtitle=self.subtitle,
            blocks=self._blocks,
            sections=[b.caption for b in self._blocks if b.kind == "section"],
            passed=verdicts.count(True),
            failed=verdicts.count(False),
            unknown=verdicts.count(None),
            drawn=self.drawn,
            file=self.file,
            arrows=tables.ARROWS,
            signs=tables.MARKS,
            facts=facts,
        )

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes ``report.json`` and ``report.html`` into ``folder``.

        Returns:
            Their paths, in that order.

        Raises:
            InputError: the folder can't be written.
        """
        facts = self.json()
        machine_path, page_path = folder / "report.json", folder / "report.html"
        write_bytes(page_path, self.html(facts).encode())
        write_json(machine_path, facts)
        return machine_path, page_path

    def _add(self, kind: str, data: Any, caption: str = "") -> Report:
        self._blocks.append(Block(kind, data, caption))
        return self


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.jinja")


def read_values(path: Path) -> dict[str, float]:
    """The numbers of a report.json by their three-part keys; null becomes NaN.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    return {
        key: math.nan if value is None else float(value)
        for key, value in read_json(path).items()
        if key.count(".") == 2
    }
