"""Cuts a clip's time into segments of at most ten seconds: one segment is one training sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.clip import Clip, content_id
from core.sample import FPS, SEGMENT_S


@dataclass(frozen=True)
class Segment:
    """Splits into parts of nearly equal length, on the grid of 25 fps frames.

    Notes first_frame (of the segment within the clip) and clip_frames; both count at 25 fps.

    Attributes:
        longest_s: longest segment in seconds.
    """

    longest_s: float = SEGMENT_S
    name = "segment"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Gives 1:N clips with spans."""
        for clip in clips:
            end_s = float(clip.facts["duration_s"])
            start_s = 0.0
            if clip.span_s is not None:
                start_s, end_s = clip.span_s[0], min(end_s, clip.span_s[1])
            # Half a frame of grace: some containers count to the start of their last frame.
            frames = max(1, math.floor((end_s - start_s) * FPS + 0.6))
            parts = math.ceil(frames / int(self.longest_s * FPS))
            cuts = [frames * i // parts for i in range(parts + 1)]
            for first, last in itertools.pairwise(cuts):
                span = (start_s + first / FPS, start_s + last / FPS)
                part = replace(clip, id=content_id(clip.content, span), span_s=span)
                yield part.noting(first_frame=first, clip_frames=frames)
