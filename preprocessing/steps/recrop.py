"""Cuts another crop from the video that shards keep: no raw file is opened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.clip import Clip
from core.errors import InputError
from core.media.crop import CropSpec
from preprocessing.steps.crop import around

BEYOND = 0.02
"""How far a crop may reach beyond the kept video, in sides of the crop."""


@dataclass(frozen=True)
class Recrop:
    """Adds crop, transform and landmarks as ``Crop`` would, from the kept video and landmarks.

    The landmarks are taken back to pixels of the source, so that the new transform is the one that
    the source itself would give; only the pixels have been through the kept video's H.264 and its
    resolution: a crop larger than the one it was kept for gets no sharper than that.

    Attributes:
        spec: where the new crop lies.
        min_face: smallest face to keep: side of the crop in source pixels.
    """

    spec: CropSpec
    min_face: float = 48.0
    name = "recrop"
    needs = frozenset({"kept_video", "kept_transform", "kept_landmarks", "kept_origin"})
    adds = frozenset({"crop", "transform", "landmarks"})

    def origin(self) -> dict[str, str]:
        """The crop's id."""
        return {"crop": self.spec.id}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Cuts; 1:1."""
        for clip in clips:
            yield self._cut(clip)

    def _cut(self, clip: Clip) -> Clip:
        from core.media.crop import invert, warp, warp_points
        from core.media.video import iterate_mp4

        kept = clip.fields["kept_transform"].astype(np.float64)
        points = clip.fields["kept_landmarks"]
        mesh = np.stack([warp_points(p, invert(t)) for p, t in zip(points, kept, strict=True)])
        size, count = self.spec.size, len(mesh)
        transforms = self.spec.fit(mesh, np.ones(count, bool))
        scales = np.sqrt(np.abs(np.linalg.det(transforms[:, :, :2].astype(np.float64))))
        face_px = round(float(np.median(size / scales)), 1)
        clip = clip.noting(face_px=face_px)
        if face_px < self.min_face:
            return clip.rejected(self.name, "face too small", face_px, self.min_face)
        crops = np.empty((count, size, size, 3), np.uint8)
        beyond, i = 0.0, -1
        for i, frame in enumerate(iterate_mp4(clip.fields["kept_video"])):
            assert i < count, f"the kept video has more than {count} frames"
            back = invert(_wide(kept[i], frame.shape[0], clip.fields["kept_origin"]))
            local = _after(transforms[i].astype(np.float64), back)
            beyond = max(beyond, _beyond(local, size, frame.shape[0]))
            crops[i] = warp(frame, local, size)
        assert i + 1 == count, f"the kept video has {i + 1} frames, its landmarks {count}"
        if beyond > BEYOND:
            reason = "crop reaches beyond the kept video"
            return clip.rejected(self.name, reason, round(beyond, 3), BEYOND)
        return clip.having(
            crop=crops,
            transform=transforms,
            landmarks=np.stack(
                [warp_points(p, t) for p, t in zip(mesh, transforms, strict=True)]
            ).astype(np.float32),
        )


def _wide(transform: np.ndarray, side: int, origin: Mapping[str, Any]) -> np.ndarray:
    """(2, 3) float64: source pixels -> pixels of the kept video."""
    name = str(origin.get("crop", ""))
    found = re.search(r"@(\d+)", name)
    if found is None:
        raise InputError(f"the shards' crop {name or 'none'!r} names no size: preprocess again")
    size = int(found.group(1))
    margin = float(origin.get("margin", side / size))
    return around(transform, size, margin, side).astype(np.float64)


def _after(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The affine map (2, 3) that does ``inner`` and then ``outer``."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _beyond(transform: np.ndarray, size: int, side: int) -> float:
    """How far the crop's corners lie outside the kept video, in sides of the crop."""
    from core.media.crop import invert

    low, high = -0.5, size - 0.5
    corners = np.array([[low, low], [high, low], [low, high], [high, high]])
    back = invert(transform)
    places = corners @ back[:, :2].T + back[:, 2]
    outside = np.maximum(-0.5 - places, places - (side - 0.5)).max()
    scale = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
    return max(0.0, float(outside)) * scale / size
