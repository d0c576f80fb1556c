"""LMD of videos: how far the output's lips lie from where they should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from core.media.shapes import face_fit
from evaluation.metrics.lmd import LIPS, lip_gap
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, Seen, VideoCase


def lip_shape(seen: Seen) -> np.ndarray:
    """The lips' shape in the image, (T,40,2) face heights around their own middle; NaN faceless."""
    shape = np.full((len(seen), len(LIPS), 2), np.nan)
    if seen.found.any():
        scale = face_fit(seen.mesh[seen.found])[0]
        lips = seen.mesh[seen.found][:, LIPS, :2].astype(np.float64)
        shape[seen.found] = (lips - lips.mean(1, keepdims=True)) / scale[:, None, None]
    return shape


class VideoLmd:
    """Mean distance of 40 lip points; 0 is best, no upper end. Two numbers.

    ``lmd``, percent of the crop's side, kind ``self`` only. Reference: the source, whose crop the
    output shares. The mesh is measured the same way on both.

    ``lmd_shape``, percent of face height. Reference: the video that the sound came from (in
    ``self`` the source), each in its own aligned crop, lips taken around their own middle and over
    the face's height. Mouths of two people differ in shape however well they move, and heads may be
    turned differently, so in ``cross`` it never comes near 0: it orders systems on equal pairs and
    says nothing by itself.

    Both can be fooled by an output on which the mesh guesses the mouth from the face. Frames in
    which one of the two videos shows no face are left out; ``lmd_found`` is the share of the rest.
    """

    name = "lmd"
    better: Literal["higher", "lower", "one"] = "lower"
    directions: Mapping[str, str] = {"lmd_found": "higher"}
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self", "cross")

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``lmd`` (T,) in ``self``; ``lmd_shape`` (T,) where there is a video of the sound."""
        values: dict[str, np.ndarray] = {}
        if case.kind == "self":
            gap = lip_gap(case.output.mesh[:, LIPS], case.source.mesh[:, LIPS])
            values["lmd"] = 100.0 * gap / case.source.crops.shape[2]
        model = case.source if case.kind == "self" else case.audio_video
        shape = np.full(len(case.output), np.nan)
        if model is not None:
            shape = 100.0 * lip_gap(lip_shape(case.output), lip_shape(model))
        return values | {"lmd_shape": shape}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lmd_shape``, ``lmd_found``, and ``lmd`` where a case has it: means over frames."""
        shape = pooled(rows, "lmd_shape")
        numbers = {"lmd_shape": finite_mean(shape), "lmd_found": float(np.isfinite(shape).mean())}
        own = [row for row in rows if "lmd" in row]
        return numbers | ({"lmd": finite_mean(pooled(own, "lmd"))} if own else {})
