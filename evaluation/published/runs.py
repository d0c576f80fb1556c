"""Published figures as reference runs, and the tables that fit a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.published import MARK, Published, published

PREFIX = "published/"
"""What names of published numbers begin with: none is ever called as one of ours."""
SETTINGS: Mapping[str, str] = {"reconstruction": "reconstruction", "cross_audio": "cross-audio"}
"""Benchmark, without its version -> setting of the papers that asks the same; others have none."""


@dataclass(frozen=True)
class ReferenceRun:
    """A row of a paper's table as a run beside ours.

    Attributes:
        name: of the run.
        values: number -> value; every name begins with ``published/``.
        tags: mark, paper, table, setting, system.
    """

    name: str
    values: Mapping[str, float]
    tags: Mapping[str, str]


def reference_runs(rows: Sequence[Published] | None = None) -> list[ReferenceRun]:
    """One for each paper, table, setting and system, in the order of the files.

    Args:
        rows: all published ones by default.
    """
    found: dict[tuple[str, str, str, str], list[Published]] = {}
    for row in published() if rows is None else rows:
        found.setdefault((row.paper, row.table, row.setting, row.system), []).append(row)
    return [
        ReferenceRun(
            f"{system}, {paper} Table {table}, {setting} ({MARK})",
            {PREFIX + row.metric: row.value for row in group},
            {"mark": MARK, "paper": paper, "table": table, "setting": setting, "system": system},
        )
        for (paper, table, setting, system), group in found.items()
    ]


@dataclass(frozen=True)
class PublishedTable:
    """A paper's table in one setting.

    Attributes:
        paper, table, setting, protocol: as ``Published``.
        columns: metrics, with an arrow. rows: system -> metric -> value.
        mark: said of every row.
    """

    paper: str
    table: str
    setting: str
    protocol: str
    columns: Mapping[str, str]
    rows: Mapping[str, Mapping[str, float]]
    mark: str = MARK

    def text(self, system: str, metric: str) -> str:
        """A value with as many decimals as its column has; a dash where none is printed."""
        if metric not in self.rows[system]:
            return "–"
        column = [f"{row[metric]:g}" for row in self.rows.values() if metric in row]
        decimals = max(len(value.partition(".")[2]) for value in column)
        return f"{self.rows[system][metric]:.{decimals}f}"


def tables_for(benchmark: str) -> list[PublishedTable]:
    """The papers' tables in the setting of a benchmark (``name`` or ``name@version``)."""
    setting = SETTINGS.get(benchmark.partition("@")[0])
    groups: dict[tuple[str, str], list[Published]] = {}
    for row in published():
        if row.setting == setting:
            groups.setdefault((row.paper, row.table), []).append(row)
    return [_table(group) for group in groups.values()]


def _table(group: Sequence[Published]) -> PublishedTable:
    first = group[0]
    rows: dict[str, dict[str, float]] = {}
    for row in group:
        rows.setdefault(row.system, {})[row.metric] = row.value
    columns = {row.metric: row.better for row in group}
    return PublishedTable(first.paper, first.table, first.setting, first.protocol, columns, rows)
