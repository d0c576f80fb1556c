"""CelebV-Text: clips of faces from YouTube, with descriptions.

Source: https://github.com/celebv-text/CelebV-Text (README, "JSON File Structure"). Licence:
research, not commercial; the videos belong to their owners. Counts: 70,000 clips, some 279 hours.

::

    celebvtext_info.json     the metadata annotation
    raw/0-5BrmyFsYM.mp4      the downloaded videos, named by ytb_id

Bounding boxes are pixels of the video at its best resolution (unlike CelebV-HQ's fractions): a
smaller download whose picture does not hold the box fails with a sentence that says so. Identities
are not published: a video is taken to be a person. The descriptions are not read. Never run on the
real data: tested on an annotation of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import annotated, annotation


def clips(root: Path) -> Iterator[Clip]:
    """One clip an entry, on disk or not. Facts: speaker, name, roi.

    Args:
        root: the folder that holds the annotation and ``raw``.

    Raises:
        InputError: no annotation, or a damaged one.
    """
    content = annotation(root, "celebvtext_info.json")
    for clip, _ in annotated(content, root / "raw", "px"):
        yield clip
