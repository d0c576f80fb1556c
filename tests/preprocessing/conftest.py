"""Dummy videos and a chain without nets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core.media.audio import read_sound
from core.media.video import VideoWriter, read_frames_at
from preprocessing.recipes import PreprocessRecipe

Make = Callable[..., Path]


def write_video(path: Path, seconds: float = 1.2, seed: int = 0, sound: bool = True) -> Path:
    """Writes a small video: a drifting pattern that differs by seed, and a tone."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    tone = np.sin(np.arange(int(16_000 * seconds)) * (0.1 + 0.01 * seed)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 64, 64, Fraction(25), tone if sound else None, 16_000) as writer:
        for i in range(round(seconds * 25)):
            writer.write(np.roll(picture, i, axis=1))
    return path


@pytest.fixture
def video() -> Make:
    """``write_video``."""
    return write_video


@pytest.fixture
def cut() -> Make:
    """Writes the first frames of a real clip as a short clip of its own."""

    def make(source: Path, target: Path, frames: int = 26) -> Path:
        sound = read_sound(source)[: frames * 640]
        found = [f for _, f in itertools.islice(read_frames_at(source), frames)]
        size = found[0].shape[1] // 2 * 2, found[0].shape[0] // 2 * 2
        with VideoWriter(target, *size, Fraction(25), sound, 16_000) as writer:
            for frame in found:
                writer.write(frame[: size[1], : size[0]])
        return target

    return make


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> PreprocessRecipe:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return PreprocessRecipe(steps="cheap_chain:steps")
