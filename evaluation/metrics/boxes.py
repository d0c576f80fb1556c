"""Cutting the measured box out of each frame, the same way for every metric."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.contracts import Case


def patches(case: Case, grow: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(output, truth) inside each frame's mouth box, (h,w,3) uint8, in the order of frames.

    Args:
        case: what is measured.
        grow: pixels added on each side (as far as the crop reaches), for filters that look around.
    """
    side_y, side_x = case.truth.shape[1:3]
    for out, truth, (x0, y0, x1, y1) in zip(case.output, case.truth, case.mouth_box, strict=True):
        fits = 0 <= x0 < x1 <= side_x and 0 <= y0 < y1 <= side_y
        assert fits, f"box {(x0, y0, x1, y1)} is not inside a crop of {side_x} x {side_y}"
        rows = slice(max(0, y0 - grow), min(side_y, y1 + grow))
        columns = slice(max(0, x0 - grow), min(side_x, x1 + grow))
        yield out[rows, columns], truth[rows, columns]
