"""The lower-face mask M and the lips mask, drawn from landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.clip import Clip


@dataclass(frozen=True)
class Masks:
    """Adds mask (T, S, S) and lips_mask (T, S, S), bool; notes the lips' area in crop pixels."""

    name = "masks"
    needs = frozenset({"crop", "landmarks"})
    adds = frozenset({"mask", "lips_mask"})

    def origin(self) -> dict[str, str]:
        """The mask's name and version: a changed shape is another mask."""
        return {"mask": "lower_face@2"}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Draws; 1:1."""
        from core.media.shapes import lips_mask, lower_face_masks

        for clip in clips:
            points, size = clip.fields["landmarks"], clip.fields["crop"].shape[1]
            lips = np.stack([lips_mask(p, size) for p in points])
            yield clip.having(mask=lower_face_masks(points, size), lips_mask=lips).noting(
                lips_area=round(float(lips.sum((1, 2)).mean()), 1)
            )
