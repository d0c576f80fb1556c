"""VoxCeleb2: utterances of celebrities from YouTube, cut out around the face.

Source: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox2.html, arXiv:1806.05622. Licence: CC BY
4.0 for the annotation; the videos belong to their owners. Counts: 6,112 identities, 150,480
videos, 1,128,246 utterances (5,994 and 118 identities in dev and test), 2,442 hours.

::

    dev/mp4/id00012/21Uxsk56VDQ/00001.mp4     also without dev/ or test/

Never run on the real data: tested on a tree of this layout. The house's split is by speaker and is
not VoxCeleb2's own, which is the fact ``part``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import matching

UTTERANCE = "mp4/id*/*/*.mp4"


def clips(root: Path) -> Iterator[Clip]:
    """One clip an utterance. Facts: speaker, name, video (YouTube's name), part where it is known.

    Args:
        root: the folder that holds dev and test, or one that holds mp4.

    Raises:
        InputError: no video of this layout below ``root``.
    """
    for path in matching(root, UTTERANCE, f"dev/{UTTERANCE}", f"test/{UTTERANCE}"):
        *part, _, speaker, video, _ = path.relative_to(root).parts
        name = f"{video}_{path.stem}"
        facts = {"speaker": f"voxceleb2_{speaker}", "name": name, "video": video}
        yield Clip("", str(path), facts=facts | ({"part": part[0]} if part else {}))
