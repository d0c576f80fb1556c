"""silence@1: each video is given a silent sound as long as itself; the mouth should close and stay.

What moves on follows the source's lips: leakage.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from evaluation.benchmarks.pairs import Pair, VideoBenchmark, stem


def pair(videos: Sequence[Path], folder: Path, rng: random.Random) -> list[Pair]:
    """Every video with silence."""
    del rng
    return [Pair(f"{stem(v, folder)}--silence", v, None, None, "silent") for v in videos]


BENCHMARK = VideoBenchmark("silence", 1, pair, most=100)
