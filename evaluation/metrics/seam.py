"""Seam: does the edge of what was pasted into a frame show?

Takes frames and masks rather than a ``Case``: it looks at finished videos, not at crops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from inference.engine import RING

LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)


@dataclass(frozen=True)
class Energy:
    """Squared luma gradient along a mask's border, summed over its pixels; frames add up.

    Attributes:
        across: of the gradient's part that crosses the border, as a seam does.
        along: of the part that runs with it, which a seam leaves alone.
    """

    across: float = 0.0
    along: float = 0.0

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.across + other.across, self.along + other.along)


def edge_energy(frame: np.ndarray, mask: np.ndarray) -> Energy:
    """The energy of one frame.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mask: (H, W) in [0, 1], how much of each pixel was pasted; its slope is the border. An empty
            mask has no border and gives 0.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return Energy()
    # One pixel around it, because Sobel's filter looks that far.
    y0, x0 = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    cut = (slice(y0, int(rows[-1]) + 2), slice(x0, int(columns[-1]) + 2))
    alpha = mask[cut].astype(np.float32)
    border = (alpha > RING[0]) & (alpha < RING[1])
    (ax, ay), (gx, gy) = _slope(alpha), _slope(cv2.transform(frame[cut].astype(np.float32), LUMA))
    steep = np.hypot(ax, ay)
    border &= steep > 1e-6
    ux, uy = ax[border] / steep[border], ay[border] / steep[border]
    across, along = gx[border] * ux + gy[border] * uy, gy[border] * ux - gx[border] * uy
    return Energy(float(np.sum(across**2)), float(np.sum(along**2)))


def seam_ratio(output: Energy, source: Energy) -> Energy:
    """Output over source, for both parts; 1 where both are 0.

    ``across`` is the number to watch: 1 is no trace, above it an edge shows; up to 1.1 nobody sees
    it. Blur, of the edit or of the encoder, lowers it and could hide a seam; it lowers ``along`` as
    well, so ``across`` clearly above ``along`` is a seam, too. A smear that follows the border
    fools both.
    """
    return Energy(_over(output.across, source.across), _over(output.along, source.along))


def seam(
    outputs: Iterable[np.ndarray], sources: Iterable[np.ndarray], masks: Iterable[np.ndarray]
) -> Energy:
    """``seam_ratio`` over the frames of a clip: of sums, so that flat frames don't explode.

    Args:
        outputs: edited frames, (H, W, 3) uint8 RGB each.
        sources: the same frames before the edit.
        masks: (H, W) in [0, 1] each.
    """
    given = was = Energy()
    for output, source, mask in zip(outputs, sources, masks, strict=True):
        given, was = given + edge_energy(output, mask), was + edge_energy(source, mask)
    return seam_ratio(given, was)


def _slope(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient along x and y, of 3 x 3 pixels."""
    return cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)


def _over(output: float, source: float) -> float:
    if source == 0:
        return 1.0 if output == 0 else float("inf")
    return output / source
