"""A segment's frames: kept in memory when they are few, decoded again when they are many."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.sample import FPS

if TYPE_CHECKING:
    from core.media.video import FrameReader

Reader = Literal["pyav", "decord", "decord-gpu"]


def read_with(reader: Reader) -> FrameReader | None:
    """The function that decodes: PyAV for any file, decord for trusted corpora, on a GPU if asked.

    The first two give the same bytes (``core.media.decord_reader`` says of which files, and leaves
    the others to PyAV).
    """
    if reader == "pyav":
        return None
    from core.media.decord_reader import read_frames_decord

    return functools.partial(read_frames_decord, gpu=reader == "decord-gpu")


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
        first: frames of the span that come before these.
        reader: which library decodes them, see ``read_with``.
    """

    source: str
    span_s: tuple[float, float]
    promised: int
    kept: tuple[np.ndarray, ...] | None = field(default=None, repr=False, compare=False)
    box: tuple[int, int, int, int] | None = None
    first: int = 0
    reader: Reader = "pyav"

    def __iter__(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 RGB frames in order."""
        from core.media.video import read_frames_at

        if self.kept is not None:
            yield from self.kept
            return
        pairs = read_frames_at(Path(self.source), FPS, self.span_s, read_with(self.reader))
        for _, frame in itertools.islice(pairs, self.first, self.first + self.promised):
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

    def part(self, first: int, last: int) -> Frames:
        """Frames ``first`` to ``last`` (exclusive), the very same ones.

        They are decoded from the whole's start: at a variable rate, another start could pick
        another neighbour, and landmarks found before would lie on the wrong frame.
        """
        kept = None if self.kept is None else self.kept[first:last]
        return replace(self, promised=last - first, kept=kept, first=self.first + first)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "kept": None}
