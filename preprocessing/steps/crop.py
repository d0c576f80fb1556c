"""Cuts the canonical face crop, and keeps the source at a generous margin around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.clip import Clip
from core.media.crop import CropSpec
from core.sample import FPS


@dataclass(frozen=True)
class Crop:
    """Adds crop, transform, landmarks (crop pixels) and video (mp4 bytes); lets the frames go.

    Attributes:
        spec: where the crop lies.
        margin: the kept video's side, in sides of the crop.
        margin_px: its side in pixels, even.
        crf: its H.264 quality.
        min_face: smallest face to keep: side of the crop in source pixels.
    """

    spec: CropSpec
    margin: float = 2.0
    margin_px: int = 256
    crf: int = 18
    min_face: float = 48.0
    name = "crop"
    needs = frozenset({"frames", "mesh", "found"})
    adds = frozenset({"crop", "transform", "landmarks", "video"})

    def origin(self) -> dict[str, str]:
        """The crop's id; how far the kept video reaches where its sides don't say so."""
        made = {"crop": self.spec.id}
        if self.margin_px != self.margin * self.spec.size:
            made["margin"] = repr(self.margin)
        return made

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Cuts; 1:1."""
        for clip in clips:
            yield self._cut(clip)

    def _cut(self, clip: Clip) -> Clip:
        from core.media.crop import warp_points
        from core.media.video import encode_mp4

        mesh, size = clip.fields["mesh"], self.spec.size
        transforms = self.spec.fit(mesh, clip.fields["found"])
        scales = np.sqrt(np.abs(np.linalg.det(transforms[:, :, :2].astype(np.float64))))
        face_px = float(np.median(size / scales))
        clip = clip.noting(face_px=round(face_px, 1))
        if face_px < self.min_face:
            return clip.rejected(self.name, "face too small", round(face_px, 1), self.min_face)
        count = len(mesh)
        crops = np.empty((count, size, size, 3), np.uint8)
        video = encode_mp4(self._wide(clip, transforms, crops), FPS, self.crf)
        points = np.stack([warp_points(p, t) for p, t in zip(mesh, transforms, strict=True)])
        return clip.having(
            crop=crops,
            transform=transforms.astype(np.float32),
            landmarks=points.astype(np.float32),
            video=video,
            frames=None,
        )

    def _wide(self, clip: Clip, transforms: np.ndarray, crops: np.ndarray) -> Iterator[np.ndarray]:
        """The kept video's frames, one by one; fills ``crops`` (T, S, S, 3) on the way."""
        from core.media.crop import warp

        i = -1
        for i, frame in enumerate(clip.fields["frames"]):
            crops[i] = warp(frame, transforms[i], self.spec.size, self.spec.fill)
            yield warp(frame, self._margin(transforms[i]), self.margin_px)
        assert i + 1 == len(crops), f"{i + 1} frames came back where {len(crops)} were tracked"

    def _margin(self, transform: np.ndarray) -> np.ndarray:
        return around(transform, self.spec.size, self.margin, self.margin_px)


def around(transform: np.ndarray, size: int, margin: float, margin_px: int) -> np.ndarray:
    """A crop's transform (2, 3), zoomed out around the crop's centre: source pixels -> kept video.

    Args:
        transform: source pixels -> crop pixels.
        size: side of the crop.
        margin: side of the kept video in sides of the crop.
        margin_px: its side in pixels.
    """
    zoom = margin_px / (margin * size)
    centre, wanted = (size - 1) / 2, (margin_px - 1) / 2
    out = transform.astype(np.float64) * zoom
    out[:, 2] += wanted - zoom * centre
    return out.astype(np.float32)
