"""Flicker: does the output tremble where nothing was asked to change?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from evaluation.metrics.features import EVERY
from evaluation.metrics.on_crops import mouth
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, VideoCase

TRUSTED = (0.01, 0.5)
"""There and back again may miss by this part of both motions' squares, plus so many px²: beyond it
something came into view or went out of it (Sundaram, Brox & Keutzer 2010)."""
LEAST = 0.1
"""Least part of the crop that must be trusted; below it a frame says nothing."""


def backward(now: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of ``now`` was in ``before``, both (S,S,3) uint8.

    Returns:
        (S,S,2) float32 places x, y in ``before``, and (S,S) bool, where they can be trusted.
    """
    ours, theirs = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (now, before))
    way: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    there, back = way.calc(ours, theirs, None), way.calc(theirs, ours, None)
    height, width = ours.shape
    places = _grid((height, width)) + there
    returned = warped(back, places)
    missed = _square(there + returned)
    allowed = TRUSTED[0] * (_square(there) + _square(returned)) + TRUSTED[1]
    return places, (missed <= allowed) & _inside(places, np.array([0, 0, width, height]))


def warped(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A picture (S,S,C), float32, looked up at ``places`` (S,S,2), between pixels linearly."""
    return np.asarray(
        cv2.remap(
            picture.astype(np.float32), places[..., 0], places[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )  # fmt: skip


class Flicker:
    """Warping error outside the mouth's box beyond the source's own, in grey levels of 255.

    DIS optical flow of the source carries the output's face crop to the next one, at every fifth
    frame; ``flicker`` is the mean absolute difference of the output less that of the source,
    over the pixels that lie, and lay, outside the mouth's box and whose flow there and flow back
    agree. Reference: the source. 0 is as steady as the source; below 0 the output is smoother.

    Can be fooled by blur, which hides grain and flicker alike and goes below 0: read it beside
    sharpness. It does not see what moves as slowly as the head does.
    """

    name = "flicker"
    better: Literal["higher", "lower", "one"] = "lower"
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``output`` and ``source`` (T,): warping errors; NaN in frames not looked at and where
        too little of the flow can be trusted."""
        box = mouth(case)
        outputs, sources = case.output.crops, case.source.crops
        values = np.full((len(sources), 2), np.nan)
        for t in range(1, len(sources), EVERY):
            places, trusted = backward(sources[t], sources[t - 1])
            trusted &= ~_inside(_grid(trusted.shape), box) & ~_inside(places, box)
            if trusted.mean() >= LEAST:
                for k, video in enumerate((outputs, sources)):
                    gap = np.abs(video[t] - warped(video[t - 1], places))
                    values[t, k] = gap[trusted].mean()
        return {"output": values[:, 0], "source": values[:, 1]}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``flicker``, the mean over frames of the difference, and ``flicker_source``, the source's
        own error, for scale."""
        own = pooled(rows, "source")
        return {
            "flicker": finite_mean(pooled(rows, "output") - own),
            "flicker_source": finite_mean(own),
        }


def _grid(shape: tuple[int, ...]) -> np.ndarray:
    """(H,W,2) float32, each pixel's own place x, y."""
    return np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1).astype(np.float32)


def _square(way: np.ndarray) -> np.ndarray:
    """(H,W), squared length of (H,W,2)."""
    return np.asarray(way[..., 0] ** 2 + way[..., 1] ** 2)


def _inside(places: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(H,W) bool, whether places (H,W,2) lie in a box x0,y0,x1,y1, its end exclusive."""
    (x, y), (x0, y0, x1, y1) = (places[..., 0], places[..., 1]), box
    return np.asarray((x >= x0) & (y >= y0) & (x <= x1 - 1) & (y <= y1 - 1))
