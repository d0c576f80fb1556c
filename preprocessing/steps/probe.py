"""Looks at the container before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.clip import Clip


@dataclass(frozen=True)
class Probe:
    """Notes duration_s, fps, width, height, has_sound; rejects what is too short.

    A clip whose sound lies in a file apart (the fact ``sound_file``) has sound.

    Attributes:
        min_s: shortest clip to keep, in seconds.
    """

    min_s: float = 1.0
    name = "probe"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Notes facts of the container; 1:1."""
        from core.media.video import probe

        for clip in clips:
            info = probe(Path(clip.source))
            length_s = info.duration_s
            if clip.span_s is not None:
                length_s = min(length_s, clip.span_s[1]) - clip.span_s[0]
            noted = clip.noting(
                duration_s=round(float(info.duration_s), 3),
                fps=round(float(info.fps), 4),
                width=int(info.width),
                height=int(info.height),
                has_sound=bool(info.has_sound) or "sound_file" in clip.facts,
            )
            if length_s < self.min_s:
                yield noted.rejected(self.name, "too short", round(length_s, 3), self.min_s)
            else:
                yield noted
