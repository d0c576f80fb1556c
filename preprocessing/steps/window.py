"""Cuts frames to one window around the face, where a data set says how wide and not where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.clip import Clip
from preprocessing.roi import Roi, to_be_found


@dataclass(frozen=True)
class Window:
    """HDTF's second cropping method; clips without the fact ``crop_ratio`` pass untouched.

    The face's box of every frame is merged into one square, and ``crop_ratio`` is the window's side
    over the square's. Frames are cut to it, the mesh moves along, the fact ``roi`` says where.
    Ours takes the window of a segment (at most ten seconds), not of the whole clip, so that memory
    stays constant.
    """

    name = "window"
    needs = frozenset({"frames", "mesh"})
    adds = frozenset[str]()

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Cuts; 1:1."""
        for clip in clips:
            yield _cut(clip) if to_be_found(clip) else clip


def _cut(clip: Clip) -> Clip:
    mesh = clip.fields["mesh"]
    roi = merged(mesh, float(clip.facts["crop_ratio"]))
    box = roi.box(int(clip.facts["width"]), int(clip.facts["height"]))
    moved = mesh - np.array([box[0], box[1], 0], mesh.dtype)
    frames = clip.fields["frames"].cut(box)
    return clip.having(frames=frames, mesh=moved).noting(roi=str(Roi(*box)))


def merged(mesh: np.ndarray, ratio: float) -> Roi:
    """One square around the face in all frames, its side multiplied by ``ratio``.

    Args:
        mesh: (T, P, 3) points in frame pixels.
        ratio: side of the window over the side of the square that holds every face.

    Returns:
        The region in pixels; it may reach over the picture's edges.
    """
    low, high = mesh[..., :2].min((0, 1)), mesh[..., :2].max((0, 1))
    half = ratio * float((high - low).max()) / 2
    x, y = (float(value) for value in (low + high) / 2)
    return Roi(x - half, y - half, x + half, y + half)
