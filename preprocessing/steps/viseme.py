"""The true mouth opening of a synthetic clip, from the file that was written beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.clip import Clip
from core.errors import InputError
from core.files import read_json


@dataclass(frozen=True)
class Viseme:
    """Adds viseme (T,) float32 to clips with the fact ``viseme_json``; passes others on.

    The JSON holds one number a frame of the clip, alone or under the key ``opening``.
    """

    name = "viseme"
    needs = frozenset({"landmarks"})
    adds = frozenset({"viseme"})

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Copies; 1:1."""
        for clip in clips:
            yield self._copy(clip) if "viseme_json" in clip.facts else clip

    def _copy(self, clip: Clip) -> Clip:
        path = Path(clip.source).parent / str(clip.facts["viseme_json"])
        raw = read_json(path)
        track = np.asarray(raw["opening"] if isinstance(raw, dict) else raw, np.float32)
        count = len(clip.fields["landmarks"])
        first = int(clip.facts.get("shot_frame", 0)) + int(clip.facts["first_frame"])
        part = track[first : first + count]
        if len(part) < count:
            raise InputError(
                f"{path} holds {len(track)} values, the clip needs {first + count}: render it again"
            )
        return clip.having(viseme=part)
