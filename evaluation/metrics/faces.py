"""Faces of a video for nets that need one in every frame."""

from __future__ import annotations

import numpy as np

from core.media.crop import invert, warp_points
from evaluation.videos import Seen


def filled(mesh: np.ndarray) -> np.ndarray | None:
    """A mesh (T,468,3) whose frames without a face lie on straight lines between their neighbours.

    Held at the ends, as KeySync and SyncNet's pipeline fill gaps; None where no frame has a face.
    """
    found = np.isfinite(mesh[:, 0, 0])
    if not found.any():
        return None
    if found.all():
        return mesh
    known = np.flatnonzero(found)
    at = np.arange(len(mesh))
    after = np.searchsorted(known, at).clip(0, len(known) - 1)
    before = (np.searchsorted(known, at, "right") - 1).clip(0)
    low, high = known[before], known[after]
    part = ((at - low) / np.maximum(high - low, 1)).clip(0, 1)[:, None, None]
    out: np.ndarray = (mesh[low] + (mesh[high] - mesh[low]) * part).astype(mesh.dtype)
    return out


def in_frames(seen: Seen, mesh: np.ndarray) -> np.ndarray:
    """A mesh (T,468,3) in crop pixels, in pixels of the full-sized frames."""
    pairs = zip(mesh, seen.transforms, strict=True)
    return np.stack([warp_points(points, invert(turn)) for points, turn in pairs])
