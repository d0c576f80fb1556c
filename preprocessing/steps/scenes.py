"""Splits a clip at its cuts, so that no sample shows two shots.

After a cut the clip is the *shot*: its frames are counted from its own first one, and the last 20 %
of each shot's time is held out. A shot is one take of one person; counted over the whole video, the
held-out part could be another person's shot, and neighbours on either side of a cut would be joined
to one sequence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.clip import Clip, content_id
from core.errors import InputError
from core.sample import FPS

SIDE = 256
"""Frames are shrunk to this longer side first: cuts are seen as well, at a tenth of the time."""


@dataclass(frozen=True)
class Scenes:
    """Gives one clip a shot, on the grid of 25 fps frames; notes shots.

    A shot of several is a clip of its own: it has the fact ``shot`` (its id, which its segments
    share) and shot_frame, its first frame within the listed clip. A clip without cuts passes as it
    came.

    Attributes:
        threshold: how far a frame's change must exceed its neighbours' to be a cut, as a ratio
            (PySceneDetect's adaptive detector, which lets moving cameras pass).
        min_s: shorter shots are rejected, in seconds.
    """

    threshold: float = 3.0
    min_s: float = 1.0
    name = "scenes"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def origin(self) -> dict[str, str]:
        """Nothing to stamp; misses the library early."""
        _detector(self.threshold)
        return {}

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Gives 1:N clips."""
        for clip in clips:
            found, frames = cuts(clip, self.threshold)
            if found:
                yield from self._shots(clip, [0, *found, frames])
            else:
                yield clip.noting(shots=1)

    def _shots(self, clip: Clip, borders: Sequence[int]) -> Iterable[Clip]:
        start_s = 0.0 if clip.span_s is None else clip.span_s[0]
        for first, last in itertools.pairwise(borders):
            span = (start_s + first / FPS, start_s + last / FPS)
            name = content_id(clip.content, span)
            shot = replace(clip, id=name, span_s=span)
            shot = shot.noting(shots=len(borders) - 1, shot=name, shot_frame=first)
            seconds = (last - first) / FPS
            if seconds < self.min_s:
                yield shot.rejected(self.name, "shot too short", round(seconds, 3), self.min_s)
            else:
                yield shot


def cuts(clip: Clip, threshold: float) -> tuple[list[int], int]:
    """First frames of all shots but the first, and how many frames there are, at 25 fps.

    A file that breaks off has its cuts up to there; the steps that read what lies behind will say
    so.
    """
    import cv2
    from scenedetect.common import FrameTimecode

    from core.media.video import read_frames_at

    detector, found, count = _detector(threshold), list[int](), 0
    try:
        for _, frame in read_frames_at(Path(clip.source), FPS, clip.span_s):
            shrink = SIDE / max(frame.shape[:2])
            if shrink < 1:
                frame = cv2.resize(frame, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            # The detector works on hue, saturation and brightness: it must know red from blue.
            picture = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            found += [
                t.frame_num
                for t in detector.process_frame(FrameTimecode(count, float(FPS)), picture)
            ]
            count += 1
    except InputError:
        if not count:
            raise
    return found, count


def _detector(threshold: float) -> Any:
    try:
        from scenedetect.detectors import AdaptiveDetector
    except ImportError as error:
        raise InputError(
            "finding cuts needs PySceneDetect: run 'pip install scenedetect-headless', "
            "or set scene_threshold=0"
        ) from error
    # No shortest scene here: the detector would merge a short shot into the next one.
    return AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=1)
