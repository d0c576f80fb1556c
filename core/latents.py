"""How latents lie in shards: as they are in float16, or on a grid of 256 steps in uint8."""

from __future__ import annotations

import numpy as np

STORAGES = ("float16", "uint8")
ZERO, STEPS = 128, 21.0
"""uint8 value of 0, and steps to 1: reaches ±6.0 in steps of .048.

Latents have about unit spread; finer steps lose more where they clip (a step of .03 reaches ±4 and
costs twice to four times as many dB). Measured in docs/LOG.md.
"""


def packed(latents: np.ndarray, storage: str) -> np.ndarray:
    """Float latents (...) as they are stored: float16, or uint8 at half the bytes."""
    assert storage in STORAGES, storage
    if storage == "float16":
        return latents.astype(np.float16)
    return np.clip(np.round(latents * STEPS) + ZERO, 0, 255).astype(np.uint8)


def unpacked(latents: np.ndarray) -> np.ndarray:
    """The inverse of ``packed``: uint8 becomes float32, floats are given back as they are."""
    if latents.dtype != np.uint8:
        return latents
    return (latents.astype(np.float32) - ZERO) / np.float32(STEPS)
