"""MATLAB's ``imresize`` by a half, which published measures of pictures were made with."""

from __future__ import annotations

import numpy as np


def halved(grey: np.ndarray) -> np.ndarray:
    """Half as large by the cubic filter, widened against aliasing, edges mirrored (imresize)."""
    away = np.abs(np.arange(-3.5, 4)) / 2  # output pixels lie between two input pixels
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    taps = np.where(away <= 1, near, far)
    taps /= taps.sum()
    wide = np.pad(grey, ((3, 4), (3, 4)), mode="symmetric")
    rows = np.lib.stride_tricks.sliding_window_view(wide, 8, axis=0)[::2] @ taps
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 8, axis=1)[:, ::2] @ taps)
