"""Synthetic faces for the tests of evaluation: a drawn mouth, a mesh that moves with it."""

from __future__ import annotations

import cv2
import numpy as np

from core.contracts import Case
from core.media.shapes import FACE, INNER_LIPS, INNER_PAIRS, OUTER_LIPS
from evaluation.clip_data import ClipData, clip_box

SIDE = 64
SCALE = 50.0  # pixels in a face height
NASION = np.array([32.0, 22.0])


def mesh(gap: float) -> np.ndarray:
    """(468,3) mesh in crop pixels whose inner lips are ``gap`` face heights apart."""
    points = np.zeros((468, 3), np.float32)
    for index, mirror, x, y, z in FACE:
        points[index], points[mirror] = (x, y, z), (-x, y, z)
    for contour, width, height in ((OUTER_LIPS, 0.16, 0.06), (INNER_LIPS, 0.12, 0.0)):
        # Both contours run corner, below, corner, above.
        for k, index in enumerate(contour):
            turn = np.pi - 2 * np.pi * k / len(contour)
            lift = height + gap / 2
            points[index] = (width * np.cos(turn), 0.47 - lift * np.sin(turn - np.pi) * -1, 0.0)
    for upper, lower in INNER_PAIRS:
        points[upper, 1], points[lower, 1] = 0.47 - gap / 2, 0.47 + gap / 2
    points[[356, 454, 323], 0], points[[127, 234, 93], 0] = 0.4, -0.4
    points *= SCALE
    points[:, :2] += NASION
    return points


def picture(gap: float, seed: int = 0) -> np.ndarray:
    """(S,S,3) crop with a textured face and a mouth open by ``gap`` face heights."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), (200, 160, 140), np.float32)
    image += cv2.GaussianBlur(rng.normal(0, 30, image.shape).astype(np.float32), (0, 0), 1.2)
    centre = (int(NASION[0]), int(NASION[1] + 0.47 * SCALE))
    cv2.ellipse(image, centre, (8, int(3 + gap * SCALE / 2)), 0, 0, 360, (150, 60, 60), -1)
    cv2.ellipse(image, centre, (6, int(gap * SCALE / 2)), 0, 0, 360, (40, 15, 15), -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def gaps(frames: int, phase: float = 0.0) -> np.ndarray:
    """(T,) openings of a talking mouth."""
    at = np.arange(frames)
    return 0.1 + 0.08 * np.sin(at * 0.5 + phase) + 0.05 * np.sin(at * 0.13)


def dark_mesh(crop: np.ndarray) -> np.ndarray | None:
    """A stand-in for the mesh net: finds the gap by the mouth's dark pixels in the middle."""
    if crop.mean() < 20:
        return None
    dark = int((crop[30:64, 32].mean(axis=1) < 45).sum())
    return mesh(max(dark - 1, 0) / SCALE)


def case(frames: int = 30, name: str = "anna", system: str = "ours", output=None) -> Case:
    asked = gaps(frames)
    truth = np.stack([picture(gap) for gap in asked])
    landmarks = np.stack([dark_mesh(crop) for crop in truth])
    box = clip_box(landmarks, SIDE)
    return Case(
        name=name,
        system=system,
        output=truth.copy() if output is None else output,
        truth=truth,
        mouth_box=np.tile(box, (frames, 1)),
        landmarks=landmarks,
        asked=asked,
    )


def sample(
    first: int = 0, frames: int = 100, clip_frames: int = 100, name: str = "anna", seed: int = 0
) -> dict:
    """A segment as shards give it, speech being a noisy copy of the opening."""
    rng = np.random.default_rng(seed)
    opening = gaps(clip_frames, seed)[first : first + frames].astype(np.float32)
    crops = np.stack([picture(gap, seed) for gap in opening])
    landmarks = np.stack([mesh(gap) for gap in opening])
    drift = np.linspace(0, 1, frames)[:, None]
    hidden = rng.normal(0, 0.1, (frames, 6)).astype(np.float32)
    return {
        "key": f"{name}{first:04d}",
        "info": {
            "clip": name,
            "source": f"{name}.mp4",
            "speaker": name,
            "split": "train",
            "first_frame": first,
            "clip_frames": clip_frames,
        },
        "crop": crops,
        "landmarks": landmarks,
        "mask": np.zeros((frames, SIDE, SIDE), bool),
        "expression": np.concatenate([opening[:, None], 0.01 * hidden[:, :2]], 1),
        "pose": np.concatenate([drift, drift, drift], 1).astype(np.float32),
        "opening": opening,
        "speech": np.concatenate([opening[:, None] * 5, hidden], 1).astype(np.float16),
    }


def clip(frames: int = 100) -> ClipData:
    from evaluation.clip_data import join

    return join([sample(frames=frames, clip_frames=frames)])
