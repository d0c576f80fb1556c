"""Small helpers over observed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Rows = Sequence[Mapping[str, np.ndarray]]


def pooled(rows: Rows, key: str) -> np.ndarray:
    """All frames of all rows, float64, one after the other."""
    return np.concatenate([np.asarray(row[key], np.float64) for row in rows])


def finite_mean(values: np.ndarray | Sequence[float]) -> float:
    """Mean of the finite values; NaN when there is none."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")
