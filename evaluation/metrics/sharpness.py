"""Sharpness ratio: catches the blur that PSNR forgives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np

from core.contracts import Case
from evaluation.metrics.boxes import patches
from evaluation.metrics.rows import pooled


def laplacian_std(patch: np.ndarray) -> float:
    """Standard deviation of the 4-neighbour Laplacian of the luma of (h,w,3) uint8 RGB.

    Luma is ITU-R 601 in floats; the patch is mirrored at its border without repeating the edge.
    """
    luma = patch.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(cv2.Laplacian(luma, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT_101).std())


class Sharpness:
    """Laplacian std of the output over that of the truth, inside the mouth box; 1 is best.

    Below 1 the output is softer than the truth, above it is noisier. The ratio is of the means over
    frames: a ratio a frame would explode where the truth itself is smeared by motion.
    """

    name = "sharpness"
    better: Literal["higher", "lower", "one"] = "one"

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``output`` and ``truth`` (T,): Laplacian std of each."""
        pairs = [(laplacian_std(out), laplacian_std(truth)) for out, truth in patches(case)]
        values = np.array(pairs).reshape(-1, 2)
        return {"output": values[:, 0], "truth": values[:, 1]}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``sharpness``: the ratio; NaN when the truth is flat."""
        truth = float(pooled(rows, "truth").mean())
        return {"sharpness": float(pooled(rows, "output").mean()) / truth if truth else np.nan}
