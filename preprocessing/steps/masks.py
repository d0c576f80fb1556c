"""The lower-face mask M, its latent version m, and the lips mask M_lips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.clip import Clip
from core.errors import InputError


@dataclass(frozen=True)
class Masks:
    """Adds mask (T, S, S) and lips_mask (T, S, S), bool; notes the lips' area in crop pixels.

    Attributes:
        lower: what M follows: the face's landmarks, or nothing (one fixed shape).
        lips: where M_lips comes from: landmarks, or the step ``parsing``.
        stride: of the codec, in pixels; when set, adds mask_latent (T, S / stride, S / stride)
            bool, m: a cell is True when M touches it, so that no hidden pixel counts as seen.
    """

    lower: Literal["landmarks", "fixed"] = "landmarks"
    lips: Literal["landmarks", "parsing"] = "landmarks"
    stride: int = 0
    name = "masks"

    @property
    def needs(self) -> frozenset[str]:
        """The parsed face, too, where the lips come from it."""
        parsed = {"parsing"} if self.lips == "parsing" else set()
        return frozenset({"crop", "landmarks", *parsed})

    @property
    def adds(self) -> frozenset[str]:
        """Both masks, and m where it is asked for."""
        latent = {"mask_latent"} if self.stride else set()
        return frozenset({"mask", "lips_mask", *latent})

    def origin(self) -> dict[str, str]:
        """The mask's name and version: a changed shape is another mask."""
        name = {"landmarks": "lower_face@2", "fixed": "fixed@1"}[self.lower]
        return {"mask": name, **({"lips_mask": "parsing"} if self.lips == "parsing" else {})}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Draws; 1:1."""
        for clip in clips:
            size = clip.fields["crop"].shape[1]
            lips, mask = self._lips(clip, size), self._lower(clip, size)
            clip = clip.having(mask=mask, lips_mask=lips)
            if self.stride:
                clip = clip.having(mask_latent=latent_mask(mask, self.stride))
            yield clip.noting(lips_area=round(float(lips.sum((1, 2)).mean()), 1))

    def _lower(self, clip: Clip, size: int) -> np.ndarray:
        from core.media.shapes import fixed_mask, lower_face_masks

        points = clip.fields["landmarks"]
        if self.lower == "fixed":
            return np.repeat(fixed_mask(size)[None], len(points), 0)
        return lower_face_masks(points, size)

    def _lips(self, clip: Clip, size: int) -> np.ndarray:
        from core.media.parsing import LIPS
        from core.media.shapes import lips_mask

        if self.lips == "parsing":
            return np.isin(clip.fields["parsing"], LIPS)
        return np.stack([lips_mask(p, size) for p in clip.fields["landmarks"]])


def latent_mask(mask: np.ndarray, stride: int) -> np.ndarray:
    """m, (T, S / stride, S / stride) bool: cells that the mask (T, S, S) touches.

    Raises:
        InputError: the crop is no multiple of the stride.
    """
    count, size, _ = mask.shape
    if size % stride:
        raise InputError(f"crop size {size} is no multiple of latent_stride={stride}; set another")
    cells = size // stride
    blocks = mask.reshape(count, cells, stride, cells, stride)
    return np.asarray(blocks.any(axis=(2, 4)))
