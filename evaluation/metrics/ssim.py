"""SSIM inside the mouth box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from skimage.metrics import structural_similarity

from core.contracts import Case
from evaluation.metrics.rows import pooled

RADIUS = 5
"""Pixels the window reaches to each side: the 11 x 11 window of Wang et al. 2004."""
SIGMA = 1.5


def ssim_map(output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """SSIM of every pixel, mean over RGB, (H,W) float64.

    Gaussian 11 x 11 window, sigma 1.5, K1 = 0.01, K2 = 0.03, data range 255, population covariance:
    the setting of Wang et al. 2004, by scikit-image.
    """
    _, full = structural_similarity(
        output.astype(np.float64),
        truth.astype(np.float64),
        channel_axis=2,
        data_range=255.0,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return full.mean(axis=2)


def box_ssim(output: np.ndarray, truth: np.ndarray, box: np.ndarray) -> float:
    """Mean of the SSIM map over ``box`` (x0,y0,x1,y1); the window may look beyond the box."""
    x0, y0, x1, y1 = (int(v) for v in box)
    top, left = max(0, y0 - RADIUS), max(0, x0 - RADIUS)
    cut = (slice(top, y1 + RADIUS), slice(left, x1 + RADIUS))
    values = ssim_map(output[cut], truth[cut])
    return float(values[y0 - top : y1 - top, x0 - left : x1 - left].mean())


class Ssim:
    """Mean over frames of SSIM inside the mouth box, -1 to 1. Reference: the truth.

    The map is made by a Gaussian 11 x 11 window on the crop and averaged inside the box, so pixels
    up to 5 outside the box weigh in at its edge.
    """

    name = "ssim"
    better: Literal["higher", "lower", "one"] = "higher"

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``ssim`` (T,)."""
        frames = zip(case.output, case.truth, case.mouth_box, strict=True)
        return {"ssim": np.array([box_ssim(out, truth, box) for out, truth, box in frames])}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``ssim``: the mean over all frames."""
        return {"ssim": float(pooled(rows, "ssim").mean())}
