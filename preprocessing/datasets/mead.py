"""MEAD: acted emotions in front of seven cameras at once.

Source: https://wywu.github.io/projects/MEAD/MEAD.html (layout: one folder an actor, see
https://github.com/uniBruce/Mead, Usage). Licence: research only, by the terms on that page.
Counts: 60 actors, 8 emotions, 3 levels (neutral has one), 7 views; 48 actors are released.

::

    M003/video/front/angry/level_1/001.mp4     pictures
    M003/audio/angry/level_1/001.m4a           their sound, one file for all views

Never run on the real data: tested on a tree of this layout. Some actors lack views and emotions
(https://github.com/uniBruce/Mead/issues/9); what is not there is not listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip
from preprocessing.listing import matching


def clips(root: Path) -> Iterator[Clip]:
    """One clip a view. Facts: speaker, name, view, emotion, level (1 to 3), sentence, sound_file.

    Args:
        root: the folder that holds M003 and the others.

    Raises:
        InputError: no video of this layout below ``root``.
    """
    for path in matching(root, "[MW][0-9]*/video/*/*/level_[0-9]/*.mp4"):
        actor, _, view, emotion, level, _ = path.relative_to(root).parts
        sound = root / actor / "audio" / emotion / level / f"{path.stem}.m4a"
        yield Clip(
            "",
            str(path),
            facts={
                "speaker": f"mead_{actor}",
                "name": f"{view}_{emotion}_{level}_{path.stem}",
                "view": view,
                "emotion": emotion,
                "level": int(level.removeprefix("level_")),
                "sentence": path.stem,
                "sound_file": str(sound),
            },
        )
