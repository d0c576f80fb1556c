"""reconstruction@1: each video says its own sound; what comes out is compared with it.

At most 100 clips, drawn by the seed, as in FlashLips Sec. 4.2 (HDTF, CelebV-HQ and CelebV-Text,
speakers nobody was trained on: the folder is the person's to fill, the manifest says with what).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from evaluation.benchmarks.pairs import Pair, VideoBenchmark, stem


def pair(videos: Sequence[Path], folder: Path, rng: random.Random) -> list[Pair]:
    """Every video with itself."""
    del rng
    return [Pair(stem(v, folder), v, v, v, "self") for v in videos]


BENCHMARK = VideoBenchmark("reconstruction", 1, pair, most=100)
