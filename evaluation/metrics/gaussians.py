"""Fréchet distances out of observed rows, shared by the metrics that are one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.frechet import frechet, too_few
from evaluation.metrics.rows import Rows, pooled

OURS, THEIRS = "output", "reference"
"""Keys of a row: vectors (N, D) of the edited video and of the one it is compared with."""


def distance(rows: Rows, name: str) -> Mapping[str, float]:
    """``NAME``, NaN below two vectors, and ``NAME_vectors``, how many the smaller set has.

    A resampled set of rows may hold the same vectors twice; then the distance is that of what was
    drawn, and higher than with so many different ones.
    """
    ours, theirs = pooled(rows, OURS), pooled(rows, THEIRS)
    count = min(len(ours), len(theirs))
    value = frechet(ours, theirs).value if count >= 2 else float("nan")
    return {name: value, f"{name}_vectors": float(count)}


def note(rows: Rows) -> str:
    """What a reader must know beside the distance, "" when there is nothing."""
    shapes = [np.shape(row[key]) for row in rows for key in (OURS, THEIRS)]
    if not shapes:
        return ""
    return too_few(sum(s[0] for s in shapes[::2]), sum(s[0] for s in shapes[1::2]), shapes[0][1])
