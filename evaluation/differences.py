"""Real differences of systems on one benchmark, as pages and files tell them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core.files import write_bytes
from evaluation.stats import Interval, paired_difference
from evaluation.video_numbers import ordered

Result = Mapping[str, Any]
"""As ``scores.json`` holds it."""
Gaps = Mapping[str, Mapping[str, Interval]]
"""System -> number -> its value less the first system's."""


def differences(ours: Result, theirs: Result) -> dict[str, Interval]:
    """``theirs`` minus ``ours`` for each number of single videos, paired."""
    both = sorted(ours["videos"].keys() & theirs["videos"].keys())
    found = {}
    for number in ordered({n for v in ours["videos"].values() for n in v}):
        pairs = [(theirs["videos"][v].get(number), ours["videos"][v].get(number)) for v in both]
        known = np.array([(a, b) for a, b in pairs if a is not None and b is not None], float)
        if len(known):
            found[number] = paired_difference(known[:, 0], known[:, 1], block=1)
    return found


def verdict(gap: Interval, better: str | None) -> str:
    """ "better", "worse", "different" where neither can be said, or "" for no real difference."""
    if not (gap.low > 0 or gap.high < 0):
        return ""
    if better not in ("higher", "lower"):
        return "different"
    return "better" if (gap.low > 0) == (better == "higher") else "worse"


def write_differences(folder: Path, gaps: Gaps, marks: Mapping[str, Mapping[str, str]]) -> None:
    """Every difference with its interval as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["system", "number", "difference", "low", "high", "verdict"])
    for system, row in gaps.items():
        for n, gap in row.items():
            writer.writerow([system, n, gap.value, gap.low, gap.high, marks[system][n]])
    write_bytes(folder / "differences.csv", text.getvalue().encode())
