"""Figures that papers print, to stand beside ours and never in one ranking with them.

One JSON file a paper, rows as the tables have them. Every paper draws its own videos, cuts its own
crops and runs its own copies of the nets: the same LatentSync has an FVD of 36 in one paper, 163 in
the next and 217 in a third. ``ranked`` therefore refuses rows of two protocols.
"""

from __future__ import annotations

import functools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.errors import InputError

FOLDER = Path(__file__).parent
MARK = "published, other protocol"
COLUMNS = ["table", "setting", "system", "metric", "value", "better"]
WAYS = ("higher", "lower")


@dataclass(frozen=True)
class Figure(ABC):
    """One number of one system.

    Attributes:
        system: as reports name it. metric, setting: as the table names them.
        value: in the table's unit. better: which way, "higher", "lower" or "one".
    """

    system: str
    setting: str
    metric: str
    value: float
    better: str

    @property
    @abstractmethod
    def origin(self) -> str:
        """Who measured how: numbers of two origins can't be compared."""


@dataclass(frozen=True)
class Published(Figure):
    """A number that a paper prints.

    Attributes:
        paper: short name. table: its number in the paper. title: of the paper.
        protocol: what the paper says of how it measured.
    """

    paper: str
    table: str
    title: str
    protocol: str
    mark: str = MARK

    @property
    def origin(self) -> str:
        """The paper."""
        return f"{MARK}: {self.paper}"

    @property
    def label(self) -> str:
        """The system's name in a report that shows our numbers, too."""
        return f"{self.system} ({MARK}: {self.paper}, Table {self.table})"


@dataclass(frozen=True)
class Measured(Figure):
    """A number that we measured.

    Attributes:
        benchmark: its name and version.
    """

    benchmark: str

    @property
    def origin(self) -> str:
        """The benchmark."""
        return f"measured: {self.benchmark}"


Row = TypeVar("Row", bound=Figure)


def published() -> list[Published]:
    """All figures of all papers, in the order of the files' names and of their tables.

    Raises:
        InputError: a file that is not as it should be.
    """
    return list(_published())


@functools.cache
def _published() -> tuple[Published, ...]:
    return tuple(row for path in sorted(FOLDER.glob("*.json")) for row in read(path))


def read(path: Path) -> list[Published]:
    """The figures of one paper's file.

    Raises:
        InputError: not JSON, a key or a column missing, a direction or value that is none, or a
            number that stands there twice.
    """
    try:
        paper = json.loads(path.read_text())
        head = {name: str(paper[name]) for name in ("paper", "title", "protocol")}
        columns, lines = paper["columns"], paper["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no file of published figures ({error!r}); it needs paper, title, protocol, "
            "columns and rows"
        ) from error
    if columns != COLUMNS:
        raise InputError(f"{path} has columns {columns}; they must be {', '.join(COLUMNS)}")
    rows = [_row(path, number, line, head) for number, line in enumerate(lines)]
    seen: set[tuple[str, str, str, str]] = set()
    for row in rows:
        key = (row.table, row.setting, row.system, row.metric)
        if key in seen:
            raise InputError(f"{path} has {' / '.join(key)} twice; leave one")
        seen.add(key)
    return rows


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Rows of one metric, one setting and one origin, the best first.

    Raises:
        InputError: rows that were not measured alike: ours and a paper's, two papers', two
            benchmarks', or of two metrics, settings or directions.
    """
    for what in ("origin", "metric", "setting", "better"):
        found = sorted({str(getattr(row, what)) for row in rows})
        if len(found) > 1:
            raise InputError(
                f"rows of different {what} can't be ranked together ({'; '.join(found)}); rank "
                "each by itself"
            )
    return sorted(rows, key=_worse)


def _worse(row: Figure) -> float:
    if math.isnan(row.value):
        return math.inf
    if row.better == "one":
        return abs(row.value - 1)
    return row.value if row.better == "lower" else -row.value


def _row(path: Path, number: int, line: Any, head: dict[str, str]) -> Published:
    fits = isinstance(line, list) and len(line) == len(COLUMNS)
    row = dict(zip(COLUMNS, line, strict=True)) if fits else {}
    words = [row.get(name) for name in COLUMNS if name != "value"]
    value = row.get("value")
    fits = fits and all(isinstance(word, str) and word for word in words)
    fits = fits and type(value) in (int, float) and math.isfinite(value or 0)
    if not fits or row["better"] not in WAYS:
        raise InputError(
            f"{path}, row {number}: {line} is no figure; give {', '.join(COLUMNS)}, the value a "
            f"number and better one of {', '.join(WAYS)}"
        )
    table, setting, system, metric, _, better = (str(row[name]) for name in COLUMNS)
    return Published(system, setting, metric, float(row["value"]), better, table=table, **head)
