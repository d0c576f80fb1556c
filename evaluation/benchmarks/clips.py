"""clips@1: any folder of talking clips, a few seconds of each: own sound, another's, and none."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from evaluation.benchmarks import cross_audio, reconstruction, silence
from evaluation.benchmarks.pairs import Pair, VideoBenchmark
from evaluation.videos import Viewing


def pair(videos: Sequence[Path], folder: Path, rng: random.Random) -> list[Pair]:
    """All three for every video; one clip alone has nobody else's sound."""
    cross = cross_audio.pair(videos, folder, rng) if len(videos) > 1 else []
    return [
        *reconstruction.pair(videos, folder, rng), *cross, *silence.pair(videos, folder, rng),
    ]  # fmt: skip


BENCHMARK = VideoBenchmark("clips", 1, pair, viewing=Viewing(seconds=5.0))
