"""The table of results: a row for each moment of each cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import write_bytes, write_json

Row = Mapping[str, Any]
HEAD = ("part", "broken", "how", "when", "what happened", "seconds", "result")
MARKS = ("<!-- table -->", "<!-- end of table -->")


def markdown(about: Mapping[str, str], rows: Sequence[Row]) -> str:
    """The table and, above it, when and of which revision it was made."""
    passed = sum(row["result"] == "passed" for row in rows)
    lines = [
        f"{about['date']}, revision {about['revision']}, seed {about['seed']}: {passed} of "
        f"{len(rows)} passed, {sum(row['seconds'] for row in rows) / 60:.0f} minutes.",
        "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD),
    ]  # fmt: skip
    for row in sorted(rows, key=lambda row: (ORDER.index(row["part"]), row["broken"])):
        cells = (_cell(f"{row[name]:.0f}" if name == "seconds" else row[name]) for name in HEAD)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


ORDER = ("preprocess", "train", "evaluate", "prefect")


def write(folder: Path, about: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Writes ``table.json`` and ``table.md``."""
    write_json(folder / "table.json", {**about, "rows": list(rows)})
    write_bytes(folder / "table.md", markdown(about, rows).encode())


def into_page(page: Path, table: str) -> None:
    """Puts the table between the marks of a page."""
    text = page.read_text()
    before, _, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    assert rest, f"{page} has no {MARKS[0]}"
    write_bytes(page, f"{before}{MARKS[0]}\n{table}{MARKS[1]}{after}".encode())


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("|", "\\|")).strip()
