"""PSNR inside the mouth box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from core.contracts import Case
from evaluation.metrics.boxes import patches
from evaluation.metrics.rows import pooled

CEILING_DB = 100.0
"""What equal pictures get, so that a mean over frames stays finite."""


def psnr(output: np.ndarray, truth: np.ndarray) -> float:
    """PSNR in dB of uint8 pictures of equal shape: 10 log10(255^2 / MSE) over all channels."""
    error = np.mean((output.astype(np.float64) - truth.astype(np.float64)) ** 2)
    return CEILING_DB if error == 0 else float(min(CEILING_DB, 10 * np.log10(255.0**2 / error)))


class Psnr:
    """Mean over frames of each frame's PSNR inside the mouth box, in dB. Reference: the truth."""

    name = "psnr"
    better: Literal["higher", "lower", "one"] = "higher"

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``psnr`` (T,) in dB."""
        return {"psnr": np.array([psnr(out, truth) for out, truth in patches(case)])}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``psnr``: the mean over all frames."""
        return {"psnr": float(pooled(rows, "psnr").mean())}
