"""PSNR outside the mask M: what a mask-free editor must leave alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from core.contracts import Case
from core.media.shapes import lower_face_masks
from evaluation.metrics.psnr import CEILING_DB
from evaluation.metrics.rows import pooled

MaskOf = Callable[[Case], np.ndarray]


def mask_from_landmarks(case: Case) -> np.ndarray:
    """The lower-face mask M of each frame from the truth's landmarks, (T,S,S) bool."""
    size = int(case.truth.shape[2])
    return lower_face_masks(case.landmarks, size)


class Outside:
    """Mean over frames of the PSNR outside M, in dB. Reference: the truth (for a mask-free edit
    the source itself). Measure raw output, before any paste.

    Args:
        mask_of: gives M, (T,S,S) bool; by default made from the truth's landmarks.
    """

    name = "outside"
    better: Literal["higher", "lower", "one"] = "higher"

    def __init__(self, mask_of: MaskOf = mask_from_landmarks) -> None:
        self._mask_of = mask_of

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """``outside`` (T,) in dB."""
        keep = ~self._mask_of(case)
        assert keep.any(axis=(1, 2)).all(), "the mask covers a whole frame"
        gap = (case.output.astype(np.float64) - case.truth) ** 2
        error = (gap.mean(axis=3) * keep).sum(axis=(1, 2)) / keep.sum(axis=(1, 2))
        with np.errstate(divide="ignore"):
            return {"outside": np.minimum(CEILING_DB, 10 * np.log10(255.0**2 / error))}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``outside_psnr``: the mean over all frames."""
        return {"outside_psnr": float(pooled(rows, "outside").mean())}
