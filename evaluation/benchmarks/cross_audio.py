"""cross_audio@1: each video says another clip's sound.

The videos are shuffled by the seed and each says the sound of the next: nobody says their own,
every sound is said once. At most 100 pairs (FlashLips Sec. 4.2). Lips are compared with the video
that the sound came from, identity and landmarks with the source.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from evaluation.benchmarks.pairs import Pair, VideoBenchmark, stem


def pair(videos: Sequence[Path], folder: Path, rng: random.Random) -> list[Pair]:
    """Every video with the next one's sound, in an order drawn by chance."""
    if len(videos) < 2:
        raise InputError(f"{folder} holds one clip; another clip's sound needs two")
    order = list(videos)
    rng.shuffle(order)
    return [
        Pair(f"{stem(v, folder)}--{stem(s, folder)}", v, s, s, "cross")
        for v, s in zip(order, [*order[1:], order[0]], strict=True)
    ]


BENCHMARK = VideoBenchmark("cross_audio", 1, pair, most=100)
