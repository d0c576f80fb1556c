"""LMD: how far the output's lips lie from the true lips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from core.contracts import Case
from core.media.shapes import INNER_LIPS, OUTER_LIPS
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.observer import Observer

LIPS = (*OUTER_LIPS, *INNER_LIPS)


def lip_gap(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(T,) mean distance in the image between two tracks' lips (T,40,2 or 3), in their unit."""
    apart = points[..., :2].astype(np.float64) - others[..., :2]
    return np.asarray(np.linalg.norm(apart, axis=-1).mean(axis=1))


class Lmd:
    """Mean distance of the 40 lip points, in percent of the crop's side. Reference: the truth.

    The output's points are measured by the mesh; the truth's come with the case and should be
    measured the same way, else the trackers' difference is a floor no system can go under. Frames
    in which the output shows no face are left out of ``lmd`` and counted in ``lmd_found``.
    """

    name = "lmd"
    better: Literal["higher", "lower", "one"] = "lower"

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``lmd`` (T,) in percent, NaN where no face was found."""
        measured = self._observer.output(case).landmarks[:, LIPS]
        gap = lip_gap(measured, case.landmarks[:, LIPS])
        return {"lmd": 100.0 * gap / case.truth.shape[2]}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lmd`` over the frames with a face, and ``lmd_found``, their share."""
        values = pooled(rows, "lmd")
        return {"lmd": finite_mean(values), "lmd_found": float(np.isfinite(values).mean())}
