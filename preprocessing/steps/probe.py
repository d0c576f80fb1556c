"""Looks at the container before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clip import Clip

if TYPE_CHECKING:
    from core.media.video import Tally, VideoInfo


LONGEST_FRAME_S = 10.0
"""No frame is shown for longer: a damaged clock can claim a multiple of the bytes only."""
CLOCK = 0.98, 0.5
"""A picture that ends before this part of its promised length, less these seconds, is cut off."""


@dataclass(frozen=True)
class Probe:
    """Notes duration_s, fps, width, height, has_sound; rejects what is cut off or too short.

    The container's word is compared with what lies in the file: a download that broke off still
    promises all its frames, and a flipped bit can promise a million years.
    A clip whose sound lies in a file apart (the fact ``sound_file``) has sound.

    Attributes:
        min_s: shortest clip to keep, in seconds.
    """

    min_s: float = 1.0
    _last: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    name = "probe"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def setup(self) -> None:
        """Nothing to load."""
        object.__setattr__(self, "_last", {})

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Notes facts of the container; 1:1."""
        for clip in clips:
            yield self._probed(clip)

    def _probed(self, clip: Clip) -> Clip:
        info, held = self._looked(Path(clip.source))
        duration_s = length_of(info, held)
        start_s, end_s = (0.0, duration_s) if clip.span_s is None else clip.span_s
        length_s = min(duration_s, end_s) - start_s
        noted = clip.noting(
            duration_s=round(duration_s, 3),
            fps=round(float(info.fps), 4),
            width=int(info.width),
            height=int(info.height),
            has_sound=bool(info.has_sound) or "sound_file" in clip.facts,
        )
        missed = cut_off(info, held)
        if missed and (clip.span_s is None or held.picture_s < end_s):
            return noted.rejected(self.name, "fewer frames than promised", *missed)
        if length_s < self.min_s:
            return noted.rejected(self.name, "too short", round(length_s, 3), self.min_s)
        return noted

    def _looked(self, path: Path) -> tuple[VideoInfo, Tally]:
        """Spans of one file come one after another, so the last one's answer is kept."""
        from core.media.video import probe, tally

        if self._last.get("path") != path:
            self._last.update(path=path, found=(probe(path), tally(path)))
        found: tuple[VideoInfo, Tally] = self._last["found"]
        return found


def length_of(info: VideoInfo, held: Tally) -> float:
    """Length of the picture in seconds: the container's word where it has one and it holds.

    One that counts no frames (MPEG, Matroska) only guesses its length, from its first megabytes or
    from a longer sound track.
    """
    part, slack_s = CLOCK
    claimed_s = float(info.duration_s)
    trusted = info.frames is not None and held.picture_s >= part * claimed_s - slack_s
    return min(claimed_s if trusted else held.picture_s, LONGEST_FRAME_S * held.frames)


def cut_off(info: VideoInfo, held: Tally) -> tuple[float, float] | None:
    """Frames there and frames promised, where clearly fewer are there; else None.

    A container that promises no number (Matroska, MPEG) is held to its length, over all tracks:
    sound may end later than the picture.
    """
    part, slack_s = CLOCK
    if info.frames is not None:
        return (held.frames, info.frames) if held.frames < part * info.frames - 1 else None
    if held.end_s >= part * float(info.duration_s) - slack_s:
        return None
    return held.frames, round(float(info.duration_s * info.fps))
