"""CelebV-HQ: short clips of celebrities from YouTube, with facial attributes.

Source: https://github.com/CelebV-HQ/CelebV-HQ (README, "JSON File Structure"). Licence: research,
not commercial; the videos belong to their owners. Counts: 35,666 clips, 15,653 identities, 83
attributes.

::

    celebvhq_info.json       the annotation
    raw/M2Ohb0FAaJU.mp4      the downloaded videos, named by ytb_id

Bounding boxes are fractions of the picture, and the frames are cut to them as annotated (the
authors' script widens them by 0.02 and makes them square). Identities are not published: a video is
taken to be a person, so somebody with several videos may be in two splits. Never run on the real
data: tested on an annotation of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from core.clip import Clip, Fact
from preprocessing.listing import Entry, annotated, annotation


def clips(root: Path) -> Iterator[Clip]:
    """One clip an entry, on disk or not.

    Facts: speaker, name, roi; emotion, and those of the attributes appearance and action that the
    clip has, each as names with commas between.

    Args:
        root: the folder that holds the annotation and ``raw``.

    Raises:
        InputError: no annotation, or a damaged one.
    """
    content = annotation(root, "celebvhq_info.json")
    names = content.get("meta_info", {})
    for clip, entry in annotated(content, root / "raw", "fraction"):
        yield clip.noting(**_attributes(entry, names))


def _attributes(entry: Entry, names: Entry) -> dict[str, Fact]:
    given = entry.get("attributes", {})
    facts: dict[str, Fact] = {}
    for kind in ("appearance", "action"):
        facts[kind] = _named(names.get(f"{kind}_mapping", ()), given.get(kind, ()))
    labels = given.get("emotion", {}).get("labels", "")
    if not isinstance(labels, str):  # several, one after another
        labels = ",".join(str(label["emotion"]) for label in labels)
    facts["emotion"] = labels
    return {kind: text for kind, text in facts.items() if text}


def _named(names: Sequence[str], flags: Sequence[int]) -> str:
    return ",".join(name for name, flag in zip(names, flags, strict=False) if flag)
