"""A segment's frames: kept in memory when they are few, decoded again when they are many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from core.sample import FPS


@dataclass(frozen=True)
class Frames:
    """Frames of a span at 25 fps, iterated any number of times.

    Ten seconds of 1080p are 1.5 GB, so a large segment's frames are decoded anew each time. What is
    kept does not travel: a pickled value decodes again on the other side.

    Attributes:
        source: the video file.
        span_s: (start, end) in seconds.
        promised: as many frames as fit into the span.
        kept: the frames themselves, or None.
        box: left, top, right, bottom in pixels that frames are cut to, or None.
    """

    source: str
    span_s: tuple[float, float]
    promised: int
    kept: tuple[np.ndarray, ...] | None = field(default=None, repr=False, compare=False)
    box: tuple[int, int, int, int] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB frames in order."""
        from core.media.video import read_frames_at

        if self.kept is not None:
            yield from self.kept
            return
        pairs = read_frames_at(Path(self.source), FPS, self.span_s)
        for (_, frame), _ in zip(pairs, range(self.promised), strict=False):
            yield self._part(frame)

    def cut(self, box: tuple[int, int, int, int]) -> Frames:
        """These frames, so far whole, cut to a box."""
        assert self.box is None, f"frames are cut to {self.box} already"
        cut = replace(self, box=box)
        if self.kept is None:
            return cut
        return replace(cut, kept=tuple(cut._part(frame) for frame in self.kept))

    def _part(self, frame: np.ndarray) -> np.ndarray:
        if self.box is None:
            return frame
        left, top, right, bottom = self.box
        return np.ascontiguousarray(frame[top:bottom, left:right])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "kept": None}
