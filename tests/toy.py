"""A toy person for tests: a mouth that is a dark bar, driven by what it "says"."""

from __future__ import annotations

import numpy as np

from models.experts.expression import EXPRESSION_DIM

FRAMES = 90
WIDTH = EXPRESSION_DIM


def smooth(rng, frames, width):
    walk = np.cumsum(rng.normal(size=(frames, width)), 0)
    return (walk / np.abs(walk).max()).astype(np.float32)


def person(name, seed):
    """A clip whose mouth (a dark bar) follows its expression, which follows its speech."""
    rng = np.random.default_rng(seed)
    move = (np.sin(np.arange(FRAMES) * (0.5 + 0.1 * seed)) * 0.5 + 0.5).astype(np.float32)
    skin = rng.integers(90, 220, 3)
    crop = np.broadcast_to(skin.astype(np.uint8), (FRAMES, 128, 128, 3)).copy()
    mask = np.zeros((FRAMES, 128, 128), bool)
    mask[:, 56:120, 24:104] = True
    lips = np.zeros_like(mask)
    for t in range(FRAMES):
        half = 2 + round(10 * float(move[t]))
        crop[t, 76 - half : 76 + half, 48:80] = 25
        lips[t, 76 - half : 76 + half, 48:80] = True
    expression = np.tile(move[:, None], (1, WIDTH)) + 0.01 * smooth(rng, FRAMES, WIDTH)
    speech = np.tile(move[:, None], (1, 1088)) + 0.1 * smooth(rng, FRAMES, 1088)
    return {
        "key": name,
        "info": {"clip": name, "source": f"{name}.mp4", "speaker": name, "split": "train",
                 "first_frame": 0, "clip_frames": FRAMES, "fps": 25, "facts": {}},
        "crop": crop, "mask": mask, "lips_mask": lips,
        "expression": expression.astype(np.float32),
        "speech": speech.astype(np.float16),
        "pose": np.zeros((FRAMES, 3), np.float32),
        "opening": move * 0.1,
        "landmarks": np.zeros((FRAMES, 468, 3), np.float32),
    }  # fmt: skip
