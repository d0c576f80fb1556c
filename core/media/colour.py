"""Colour jitter of pictures: the same change for every frame of a clip, from a few numbers.

A variant of a clip is a row of ``PARAMETERS``; shards keep it, so that training can change pixels
exactly as preprocessing changed them before encoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

PARAMETERS = ("mirror", "brightness", "contrast", "saturation", "hue")
PLAIN = (0.0, 1.0, 1.0, 1.0, 0.0)
"""Parameters that change nothing."""
STRENGTH = (0.4, 0.4, 3.2, 0.4)
"""ColorJitter of the paper (A.1): brightness, contrast, saturation, hue."""


def variants(
    seed: str, mirror: bool, jittered: int, strength: Sequence[float] = STRENGTH
) -> np.ndarray:
    """Parameters of a clip's variants, a pure function of the arguments.

    Args:
        seed: names the clip.
        mirror: whether there is a mirrored variant; every second jittered one is mirrored then too.
        jittered: how many colour-jittered variants (K).
        strength: b, c, s, h: factors are drawn from [max(0, 1 - b), 1 + b] and so on, the hue's
            turn from [-h, h] circles.

    Returns:
        (V, 5) float32 in the order of ``PARAMETERS``: the mirrored one first.
    """
    rows: list[tuple[float, ...]] = [(1.0, *PLAIN[1:])] if mirror else []
    for k in range(jittered):
        digest = hashlib.sha256(f"{seed}:{k}".encode()).digest()
        rng = np.random.default_rng(list(digest[:16]))
        factors = [rng.uniform(max(0.0, 1 - s), 1 + s) for s in strength[:3]]
        turn = rng.uniform(-strength[3], strength[3])
        rows.append((float(mirror and k % 2 == 1), *factors, turn))
    return np.array(rows, np.float32).reshape(len(rows), len(PARAMETERS))


def changed(pictures: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Pictures of one variant.

    Brightness scales; contrast scales around middle grey, not around each frame's mean, which would
    flicker; saturation blends with the grey picture; the hue turns in HSV; last comes the mirror.

    Args:
        pictures: (..., H, W, 3) uint8 RGB.
        parameters: (5,), see ``PARAMETERS``.

    Returns:
        The same shape, uint8.
    """
    mirror, brightness, contrast, saturation, hue = (float(p) for p in parameters)
    if (brightness, contrast, saturation, hue) != PLAIN[1:]:
        flat = pictures.reshape(-1, pictures.shape[-2], 3)  # colours know no neighbours
        x = flat.astype(np.float32) * np.float32(brightness / 255)
        x = np.clip((np.clip(x, 0, 1) - 0.5) * np.float32(contrast) + 0.5, 0, 1)
        grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None]
        x = np.clip(grey + (x - grey) * np.float32(saturation), 0, 1)
        turned = cv2.cvtColor(x, cv2.COLOR_RGB2HSV)
        turned[..., 0] = (turned[..., 0] + np.float32(360 * hue)) % np.float32(360)
        x = cv2.cvtColor(turned, cv2.COLOR_HSV2RGB)
        pictures = np.round(x * 255).clip(0, 255).astype(np.uint8).reshape(pictures.shape)
    return pictures[..., ::-1, :] if mirror else pictures
