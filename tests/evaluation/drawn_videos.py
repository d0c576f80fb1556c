"""Videos of drawn faces as metrics see them, without a file, a tracker or a net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from core.media.crop import FLASHLIPS_128, warp
from core.testing import draw_face, dummy_mesh
from evaluation.videos import Kind, Seen, VideoCase

SPEC = replace(FLASHLIPS_128, size=96)
FPS = 25.0
SIZE = (160, 120)


def talk(frames: int = 30, phase: float = 0.0) -> np.ndarray:
    """(T,) openings of a talking mouth, over face height."""
    at = np.arange(frames)
    return 0.05 * (1 - np.cos(at / 2.5 + phase)) + 0.02 * (1 + np.sin(at * 0.37 + phase))


def background(seed: int = 0) -> np.ndarray:
    """A still, textured wall, (H,W,3) uint8."""
    grain = np.random.default_rng(seed).normal(0, 30, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    return np.clip(110 + cv2.GaussianBlur(grain, (0, 0), 2) * 3, 0, 255).astype(np.uint8)


def drawn(openings: np.ndarray, wide: float = 1.0, seed: int = 0, name: str = "anna") -> Seen:
    """A slowly moving head that opens its mouth so far; ``wide`` stretches another person's."""
    frames, meshes = [], []
    for index, gap in enumerate(openings):
        centre = (80 + 3 * np.sin(index / 12), 48 + 2 * np.cos(index / 9))
        mesh = dummy_mesh(centre, 62.0, opening=float(gap))
        mesh[:, 0] = centre[0] + wide * (mesh[:, 0] - centre[0])
        frames.append(draw_face(background(seed), mesh))
        meshes.append(mesh)
    points = np.stack(meshes)
    transforms = SPEC.fit(points, np.ones(len(points), bool))
    crops = np.stack([warp(f, t, SPEC.size) for f, t in zip(frames, transforms, strict=True)])
    places = np.einsum("tij,tnj->tni", transforms[:, :, :2], points[..., :2])
    places += transforms[:, None, :, 2]
    depth = points[..., 2:] * np.sqrt(np.linalg.det(transforms[:, :, :2]))[:, None, None]
    return Seen(
        Path(f"{name}.mp4"), name, np.stack(frames), crops, transforms,
        np.concatenate([places, depth], -1).astype(np.float32), SIZE,
        np.zeros(round(len(frames) / FPS * 16_000), np.float32), FPS,
    )  # fmt: skip


def video_case(
    kind: Kind = "self",
    output: Seen | None = None,
    source: Seen | None = None,
    audio_video: Seen | None = None,
) -> VideoCase:
    """A case; by default the output is the source itself."""
    source = source or drawn(talk())
    own = source if kind == "self" else None
    return VideoCase(
        "pair", "ours", output or source, source, source.sound, audio_video or own, kind
    )


def edited(seen: Seen, crops: np.ndarray) -> Seen:
    """A video with other pixels in its crops."""
    return replace(seen, crops=crops)


def later(seen: Seen, by: int) -> Seen:
    """A video whose mouth comes ``by`` frames late, the head where it was: it is drawn again."""
    gaps = talk(len(seen))[(np.arange(len(seen)) - by).clip(0)]
    return drawn(gaps)


def noisy(crops: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma, crops.shape)
    return np.clip(crops + noise, 0, 255).astype(np.uint8)


def blurred(crops: np.ndarray, sigma: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in crops])
