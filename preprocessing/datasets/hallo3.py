"""Hallo3's training data: talking heads and scenes from films and YouTube.

Source: https://huggingface.co/datasets/fudan-generative-ai/hallo3_training_data (layout:
https://github.com/fudan-generative-vision/hallo3, README, "Training"). Licence: CC BY-NC-ND 4.0.
Counts: over 70 hours of talking heads, over 50 clips of wild scenes.

::

    videos/0001.mp4
    caption/0001.txt     not read

Who speaks is not published: every file is taken to be a person of its own, so one person may be in
two splits, and its paper says that some of HDTF is in it. Do not measure on it. Never run on the
real data: tested on a tree of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import matching


def clips(root: Path) -> Iterator[Clip]:
    """One clip a file. Facts: speaker.

    Args:
        root: the folder that holds ``videos``, itself or inside a folder.

    Raises:
        InputError: no video of this layout below ``root``.
    """
    for path in matching(root, "videos/*.mp4", "*/videos/*.mp4"):
        yield Clip("", str(path), facts={"speaker": f"hallo3_{path.stem}"})
