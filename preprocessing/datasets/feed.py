"""FEED: extreme and asymmetric facial expressions in front of three cameras.

Source: https://github.com/neeek2303/FEED, paper arXiv:2404.19110 (EMOPortraits). Layout: its data
card, "Video Naming Conventions", https://huggingface.co/datasets/McCheng/FEED. Licence: none is
named on the card; ask the authors. Counts: three cameras; the card names no others.

::

    ID_9/blinks_C.mp4     performance and camera: C centre, L left, R right

It is about expressions, not speech, and the FlashLips paper trains stage 1 only on it: its clips
are ``stage1_only``. Never run on the real data: tested on a tree of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import matching

VIEWS = {"C": "centre", "L": "left", "R": "right"}


def clips(root: Path) -> Iterator[Clip]:
    """One clip a camera and performance. Facts: speaker, view, performance.

    Args:
        root: the folder that holds ID_0 and the others.

    Raises:
        InputError: no video of this layout below ``root``.
    """
    for path in matching(root, "ID_*/*_[CLR].mp4"):
        performance, _, camera = path.stem.rpartition("_")
        yield Clip(
            "",
            str(path),
            facts={
                "speaker": f"feed_{path.parent.name.removeprefix('ID_')}",
                "view": VIEWS[camera],
                "performance": performance,
                "stage1_only": True,
            },
        )
