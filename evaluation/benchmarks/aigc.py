"""aigc@1: a person's own copy of AIGC-LipSync (OmniSync) or the like: one folder a category.

Each video says the sound of the next one of its own category, as in cross_audio@1; results are
told apart by category.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from core.errors import InputError
from evaluation.benchmarks import cross_audio
from evaluation.benchmarks.pairs import Pair, VideoBenchmark


def category(video: Path, folder: Path) -> str:
    """The folder in the folder that a video lies in, "" at the top."""
    parts = video.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def pair(videos: Sequence[Path], folder: Path, rng: random.Random) -> list[Pair]:
    """Every video with another sound of its category."""
    if not any(category(v, folder) for v in videos):
        raise InputError(f"{folder} has no folders in it; put each category into one of its own")
    found: list[Pair] = []
    for name, group in groupby(videos, lambda v: category(v, folder)):
        members = list(group)
        if len(members) > 1:
            pairs = cross_audio.pair(members, folder, rng)
            found += [replace(p, category=name) for p in pairs]
    return found


BENCHMARK = VideoBenchmark("aigc", 1, pair)
