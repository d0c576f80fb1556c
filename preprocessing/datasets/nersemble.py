"""NeRSemble v2: heads in front of sixteen cameras: expressions, emotions, sentences.

Source: https://github.com/tobias-kirschstein/nersemble-data (layout: ASSETS in
src/nersemble_data/constants.py). Licence: by request, terms of the form linked there.
Counts: 170,631 videos, 16 cameras, 27 sequences a participant, 73 frames a second, 1.5 TB.

::

    240/sequences/EMO-1-shout+laugh/images/cam_222200037.mp4

The public release holds no sound (its list of assets names pictures and calibration only), so its
clips are ``stage1_only``, although the FlashLips paper trains stage 2 on it too. Colour calibration
is not applied. Never run on the real data: tested on a tree of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import matching

EMPTY = "BACKGROUND"
"""The sequence without a person."""


def clips(root: Path) -> Iterator[Clip]:
    """One clip a camera and sequence. Facts: speaker, name, sequence, view (the camera's number).

    Args:
        root: the folder that holds the participants' folders.

    Raises:
        InputError: no video of this layout below ``root``.
    """
    for path in matching(root, "[0-9]*/sequences/*/images/cam_*.mp4"):
        person, _, sequence, _, _ = path.relative_to(root).parts
        clip = Clip(
            "",
            str(path),
            facts={
                "speaker": f"nersemble_{person}",
                "name": f"{sequence}_{path.stem}",
                "sequence": sequence,
                "view": path.stem.removeprefix("cam_"),
                "stage1_only": True,
            },
        )
        yield clip.rejected("nersemble", "background only") if sequence == EMPTY else clip
