"""Mouth opening: does the mouth open when, and as far as, it was asked to?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from core.contracts import Case
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.observer import Observer

LEAST_FRAMES = 5
"""Below this a correlation says nothing; the numbers are NaN."""


def agreement(measured: np.ndarray, asked: np.ndarray) -> tuple[float, float]:
    """Pearson's r of two tracks (T,), and the slope of the least-squares line measured on asked.

    NaN frames of either are left out. A measured track that never moves has r = 0 and slope 0.
    """
    keep = np.isfinite(measured) & np.isfinite(asked)
    x, y = asked[keep].astype(np.float64), measured[keep].astype(np.float64)
    if len(x) < LEAST_FRAMES or x.std() == 0:
        return float("nan"), float("nan")
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    slope = covariance / float(x.var())
    return (covariance / float(x.std() * y.std()) if y.std() > 0 else 0.0), slope


class Opening:
    """Opening measured on the output against the one asked for. Reference: ``case.asked``.

    r can be gamed (a mesh guesses the mouth from the face), so slope and error go with it. r and
    slope are made clip by clip and averaged: pooling would reward telling people apart.
    """

    name = "opening"
    better: Literal["higher", "lower", "one"] = "higher"

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``measured`` and ``asked`` (T,), over face height; NaN where no face was found."""
        measured = self._observer.output(case).opening
        return {"measured": measured, "asked": np.asarray(case.asked, np.float32)}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``opening_r``, ``opening_slope`` (mean over clips); ``opening_error`` (mean absolute
        difference, percent of face height); ``opening_found`` (share of frames with a face)."""
        pairs = [agreement(row["measured"], row["asked"]) for row in rows]
        measured = pooled(rows, "measured")
        error = np.abs(measured - pooled(rows, "asked"))
        return {
            "opening_r": finite_mean([r for r, _ in pairs]),
            "opening_slope": finite_mean([slope for _, slope in pairs]),
            "opening_error": 100.0 * finite_mean(error),
            "opening_found": float(np.isfinite(measured).mean()),
        }
