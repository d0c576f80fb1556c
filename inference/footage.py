"""VIDEO's frames as OUT shows them: a part of it, as long as asked for, on its own clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from core.errors import InputError
from core.media.audio import LATEST_S
from core.media.video import Image, VideoInfo, read_pictures

Length = Literal["video", "audio", "shortest"]
Extend = Literal["pingpong", "loop", "freeze"]
LENGTHS = ("video", "audio", "shortest")
EXTENDS = ("pingpong", "loop", "freeze")
FINE = Fraction(1, 90_000)
"""Unit of times where a file's own is coarser than a tenth of a frame or finer than this."""
PREVIEW_S = 3.0
STRETCH_S = 0.5
"""Going backwards, so much is decoded and held at once."""


@dataclass(frozen=True)
class Span:
    """Which part of VIDEO is edited, and how long OUT is.

    Attributes:
        start_s, end_s: of VIDEO; None is its end.
        length: as long as that part, as AUDIO, or as the shorter of both.
        extend: what is shown when AUDIO is longer: the part to and fro, over and over, or its last
            frame.
        preview: only ``PREVIEW_S`` of it, before and after side by side.
    """

    start_s: float = 0.0
    end_s: float | None = None
    length: Length = "video"
    extend: Extend = "pingpong"
    preview: bool = False


@dataclass(frozen=True)
class Footage:
    """Frames of VIDEO with their times in OUT, from 0 on; iterate it as often as you like.

    Attributes:
        info: of VIDEO.
        start_s, end_s: the part of VIDEO that is shown; None is its end.
        length_s: of OUT; None is that part's own.
        extend: how the part goes on when OUT is longer.
    """

    info: VideoInfo
    start_s: float = 0.0
    end_s: float | None = None
    length_s: float | None = None
    extend: Extend = "pingpong"

    @property
    def step_s(self) -> float:
        """Time of a frame."""
        return 1 / float(self.info.fps)

    @property
    def part_s(self) -> float:
        """Length of the part, as the container promises it."""
        end = self.info.duration_s if self.end_s is None else min(self.end_s, self.info.duration_s)
        return max(end - self.start_s, self.step_s)

    @property
    def frames(self) -> int | None:
        """How many there will be, as far as the container says."""
        if self.length_s is None and not self.start_s and self.end_s is None:
            return self.info.frames
        return round((self.part_s if self.length_s is None else self.length_s) / self.step_s)

    @property
    def time_base(self) -> Fraction:
        """Unit of OUT's times: VIDEO's own, so that they are kept exactly."""
        own = self.info.time_base
        return own if FINE <= own <= Fraction(self.step_s / 10).limit_denominator(10**6) else FINE

    def __iter__(self) -> Iterator[tuple[float, Image]]:
        """(time in OUT, (H, W, 3) uint8 RGB or a picture)."""
        if self.length_s is None:
            yield from self._forward()
            return
        for time, frame in self._endless():
            if time >= self.length_s - self.step_s / 2:
                return
            yield time, frame

    def _forward(self) -> Iterator[tuple[float, Image]]:
        last = self.start_s
        for time, frame in read_pictures(self.info.path, self.start_s or None, self.end_s):
            self._check(frame, last, time)
            last = time
            yield max(0.0, time - self.start_s), frame

    def _check(self, frame: Image, last: float, time: float) -> None:
        """Damaged files show anything; without this one flipped bit asks for a day of silence.

        Raises:
            InputError: no later frame can be shown after the last one.
        """
        if time - last > LATEST_S:
            raise InputError(
                f"{self.info.path} is damaged: its clock jumps from {last:.0f} to {time:.0f} s; "
                "give another copy"
            )
        size = (frame.shape[1], frame.shape[0])
        if size != (self.info.width, self.info.height):
            raise InputError(
                f"{self.info.path}: its picture changes from {self.info.width} x "
                f"{self.info.height} to {size[0]} x {size[1]} pixels at {time:.2f} s; "
                "convert it to one size first"
            )

    def _endless(self) -> Iterator[tuple[float, Image]]:
        """The part, and then what extends it."""
        last, frame = 0.0, None
        for last, frame in self._forward():
            yield last, frame
        assert frame is not None, "a part without frames"
        part_s = last + self.step_s
        for turn in itertools.count(1):
            base = turn * part_s
            if self.extend == "freeze":
                yield last + turn * self.step_s, frame
            elif self.extend == "pingpong" and turn % 2:
                yield from ((base + last - at, view) for at, view in self._backward(part_s))
            else:
                yield from ((base + at, view) for at, view in self._forward())

    def _backward(self, part_s: float) -> Iterator[tuple[float, Image]]:
        """The part's frames with their times in it, the last first; holds a stretch of them."""
        high = part_s
        while high > self.step_s / 2:
            low = max(0.0, high - STRETCH_S)
            span = read_pictures(self.info.path, self.start_s + low, self.start_s + high)
            found = [(at - self.start_s, frame) for at, frame in span]
            # Where stretches meet, readers are generous by half a frame: each frame once.
            half = self.step_s / 2
            yield from reversed([item for item in found if low - half <= item[0] < high - half])
            high = low

    def frame_at(self, time_s: float) -> Image:
        """The frame shown in OUT at a moment, by its time; by counting where that finds none.

        Raises:
            InputError: the file can't be read.
        """
        half = self.step_s / 2
        if self.length_s is None or time_s < self.part_s - half:
            at = self.start_s + time_s
            near = list(read_pictures(self.info.path, at, at + 2 * half))
            best = min(near, key=lambda item: abs(item[0] - at), default=None)
            if best is not None and abs(best[0] - at) < half:
                return best[1]
        return next(frame for time, frame in self if time >= time_s - 1e-6)


def footage_of(info: VideoInfo, span: Span, sound_s: float) -> Footage:
    """What OUT shows.

    Args:
        info: of VIDEO.
        span: what was asked for.
        sound_s: length of AUDIO.

    Raises:
        InputError: the part lies outside the video, or a word is unknown.
    """
    for name, known in (("length", LENGTHS), ("extend", EXTENDS)):
        if getattr(span, name) not in known:
            raise InputError(f"{name} is {getattr(span, name)!r}; use one of {', '.join(known)}")
    end = info.duration_s if span.end_s is None else span.end_s
    if not 0 <= span.start_s < min(end, info.duration_s):
        raise InputError(
            f"--start {span.start_s:g} and --end {end:g} hold nothing of {info.path}, which is "
            f"{info.duration_s:.2f} s long; choose a part of it"
        )
    if span.preview:
        end = min(end, span.start_s + PREVIEW_S)
        return Footage(info, span.start_s, end, None, span.extend)
    whole = Footage(info, span.start_s, span.end_s, None, span.extend)
    if span.length == "video" or (span.length == "shortest" and sound_s >= whole.part_s):
        return whole
    return Footage(info, span.start_s, span.end_s, sound_s, span.extend)
