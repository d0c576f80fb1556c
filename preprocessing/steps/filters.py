"""Filters on a tracked face, each a small step: one face, head pose, length, sharpness.

They stand before the crop, where they save the most work. The smallest face is the crop's own
limit (``Crop.min_face``), since only the crop knows how many pixels it takes. Every filter notes
what it measured; a clip that is dropped carries the value and the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.clip import Clip
from core.sample import FPS

AXES = ("yaw", "pitch", "roll")
LOOKS = 5
"""Frames of a segment whose sharpness is measured."""
SIDE = 128
"""Faces are brought to this side first, or large ones would count as blurred."""


class _Filter:
    """What all filters share: they add nothing and load nothing."""

    adds = frozenset[str]()

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Passes or rejects; 1:1."""
        for clip in clips:
            yield self.judged(clip)

    def judged(self, clip: Clip) -> Clip:
        """The clip, noted or rejected."""
        raise NotImplementedError


@dataclass(frozen=True)
class OneFace(_Filter):
    """Rejects clips in which more faces were seen at once than ``most`` (the fact ``faces``)."""

    most: int = 1
    name = "one_face"
    needs = frozenset({"mesh"})

    def judged(self, clip: Clip) -> Clip:
        """By the tracker's count."""
        faces = int(clip.facts["faces"])
        if faces > self.most:
            return clip.rejected(self.name, "more than one face", faces, self.most)
        return clip


@dataclass(frozen=True)
class PoseLimits(_Filter):
    """Rejects clips whose head is turned too far; notes yaw_wide, pitch_wide and roll_wide.

    An axis counts by the angle that nine in ten frames stay within, so that one glance aside loses
    no clip.

    Attributes:
        yaw, pitch, roll: limits in degrees, of the head in the frame; 180 lets all pass.
        part: of the frames that must stay within.
    """

    yaw: float = 180.0
    pitch: float = 180.0
    roll: float = 180.0
    part: float = 0.9
    name = "pose_limits"
    needs = frozenset({"mesh"})

    def judged(self, clip: Clip) -> Clip:
        """By head pose of the mesh in frame pixels: in the crop, roll is taken out."""
        from core.media.shapes import head_pose

        angles = np.abs(head_pose(clip.fields["mesh"]))
        wide = np.quantile(angles, self.part, axis=0).round(1).tolist()
        clip = clip.noting(**{f"{axis}_wide": w for axis, w in zip(AXES, wide, strict=True)})
        for axis, value in zip(AXES, wide, strict=True):
            limit = float(getattr(self, axis))
            if value > limit:
                return clip.rejected(self.name, f"{axis} beyond the limit", value, limit)
        return clip


@dataclass(frozen=True)
class Length(_Filter):
    """Rejects segments shorter than ``min_s`` seconds."""

    min_s: float = 1.0
    name = "length"
    needs = frozenset({"mesh"})

    def judged(self, clip: Clip) -> Clip:
        """By the number of tracked frames."""
        seconds = round(len(clip.fields["mesh"]) / FPS, 3)
        if seconds < self.min_s:
            return clip.rejected(self.name, "segment too short", seconds, self.min_s)
        return clip


@dataclass(frozen=True)
class Sharpness(_Filter):
    """Rejects blurred faces; notes sharpness.

    It is the variance of the face's Laplacian over its brightness' own variance, in percent: a
    plain ratio, so that dark or pale faces are not taken for blurred ones. Median of five frames.

    Attributes:
        least: smallest sharpness to keep; 0 lets all pass.
    """

    least: float = 0.0
    name = "sharpness"
    needs = frozenset({"mesh", "found", "frames"})

    def judged(self, clip: Clip) -> Clip:
        """By a few faces, evenly spread over the frames that have one."""
        seen = np.flatnonzero(clip.fields["found"])
        chosen = set(seen[np.linspace(0, len(seen) - 1, LOOKS).round().astype(int)].tolist())
        frames, mesh = clip.fields["frames"], clip.fields["mesh"]
        values = [sharpness(f, mesh[i]) for i, f in enumerate(frames) if i in chosen]
        value = round(float(np.median(values)), 2)
        clip = clip.noting(sharpness=value)
        if value < self.least:
            return clip.rejected(self.name, "blurred", value, self.least)
        return clip


def sharpness(frame: np.ndarray, mesh: np.ndarray) -> float:
    """Sharpness of a face at a fixed size, in percent; 0 is flat.

    Args:
        frame: (H, W, 3) uint8 RGB.
        mesh: (468, 3) in its pixels.
    """
    import cv2

    from core.media.crop import CropSpec, warp

    transform = CropSpec(size=SIDE, smoothing=0).fit(mesh[None], np.ones(1, bool))[0]
    grey = cv2.cvtColor(warp(frame, transform, SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    return 100 * float(edges.var() / max(float(grey.var()), 1.0))
