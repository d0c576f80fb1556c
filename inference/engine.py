"""Second pass: windows of frames through the predictor's session, blended back, in order.

Knows windows, overlap and paste; nothing of any system. Holds one window of frames at a time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from core.contracts import PredictorSpec, Session
from core.media.crop import paste, warp, warp_points
from core.media.shapes import paste_alpha
from core.media.video import Image
from inference.plan import Plan

T = TypeVar("T")
RING = (0.02, 0.6)
"""Values of the paste mask between which lies the ring on which colours are compared: outside the
mouth, inside what the predictor gives."""
COLOUR_MEMORY = 0.8
"""How much of the last frame's colour correction is kept; without it the skin flickers."""
MAX_SHIFT, MAX_GAIN = 24.0, 1.25
"""Bounds of the correction; anything more is no codec's colour cast but a broken edit."""


@dataclass
class Clock:
    """Seconds spent, and frames handled, by part of the work."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextmanager
    def part(self, name: str, frames: int = 1) -> Iterator[None]:
        """Adds the time of a block to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
            self.frames[name] += frames

    def timed(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """Passes items on; the time it takes to get them counts for a part."""
        source = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self.seconds[name] += time.perf_counter() - start
            self.frames[name] += 1
            yield item

    def fps(self) -> dict[str, float]:
        """Frames a second by part."""
        return {
            name: round(self.frames[name] / seconds, 2)
            for name, seconds in self.seconds.items()
            if seconds > 0
        }


@dataclass
class _Item:
    """A frame waiting for its edit; ``view`` is its crop, or the frame itself."""

    index: int
    time_s: float
    frame: Image
    view: np.ndarray


class Windows:
    """Feeds a session windows that overlap, and cross-fades what they say about the same frame.

    A run of frames that follow one another is given as windows of ``spec.window`` frames, each
    starting with the last ``spec.overlap`` of the one before; the last may be shorter.
    """

    def __init__(self, session: Session, spec: PredictorSpec, clock: Clock) -> None:
        assert 0 <= spec.overlap < spec.window, f"overlap {spec.overlap} of {spec.window}"
        self._session, self._spec, self._clock = session, spec, clock
        self._waiting: list[_Item] = []
        self._tail: np.ndarray | None = None

    def push(self, item: _Item) -> list[tuple[_Item, np.ndarray]]:
        """Adds the run's next frame; gives those that are done, with their edits."""
        self._waiting.append(item)
        return self._edit(last=False) if len(self._waiting) == self._spec.window else []

    def flush(self) -> list[tuple[_Item, np.ndarray]]:
        """Ends the run; gives the rest."""
        known = 0 if self._tail is None else len(self._tail)
        if len(self._waiting) > known:
            return self._edit(last=True)
        done = [] if self._tail is None else list(zip(self._waiting, self._tail, strict=True))
        self._waiting, self._tail = [], None
        return done

    def _edit(self, last: bool) -> list[tuple[_Item, np.ndarray]]:
        items = self._waiting
        views, times = np.stack([i.view for i in items]), np.array([i.time_s for i in items])
        with self._clock.part("edit", len(items)):
            edited = self._session.edit(views, times)
        assert edited.shape == views.shape, f"edit gave {edited.shape} for {views.shape}"
        assert edited.dtype == np.uint8, f"edit gave {edited.dtype}"
        if self._tail is not None:
            edited = _crossfaded(self._tail, edited)
        keep = 0 if last else self._spec.overlap
        done = len(items) - keep
        self._waiting = items[done:]
        self._tail = edited[done:] if keep else None
        return list(zip(items[:done], edited[:done], strict=True))


def edit_frames(
    frames: Iterable[tuple[float, Image]],
    plan: Plan,
    session: Session,
    spec: PredictorSpec,
    clock: Clock,
) -> Iterator[tuple[float, Image]]:
    """The video's frames, edited where the plan says so; as many out as in, in order.

    What comes out may go in again, with the plan and the session of another person.

    Args:
        frames: (time in seconds, (H, W, 3) uint8 RGB or a picture), the same as in pass one.
        plan: what to do with each.
        session: of the predictor.
        spec: of the predictor.
        clock: told the time of editing and pasting.

    Yields:
        (time, frame), as they came. Untouched ones are the very same; in others, pixels where the
        paste mask is 0 are.
    """
    windows = Windows(session, spec, clock)
    finish = _Finish(plan, spec, clock)
    for index, (time_s, frame) in enumerate(frames):
        if index >= len(plan):
            break  # never more out than were tracked
        edited = plan.weight[index] > 0
        if not edited or plan.tracks.start[index]:
            yield from map(finish, windows.flush())
            finish.forget()
        if edited:
            with clock.part("paste", 0):
                view = finish.view(index, frame)
            yield from map(finish, windows.push(_Item(index, time_s, frame, view)))
        else:
            yield time_s, frame
    yield from map(finish, windows.flush())


class _Finish:
    """Cuts views out of frames and puts edits back into them."""

    def __init__(self, plan: Plan, spec: PredictorSpec, clock: Clock) -> None:
        self._plan, self._spec, self._clock = plan, spec, clock
        self._cast: np.ndarray | None = None

    def forget(self) -> None:
        """Starts a new run: its colours owe nothing to the last one's."""
        self._cast = None

    def view(self, index: int, frame: Image) -> np.ndarray:
        """What the predictor sees of a frame."""
        if self._spec.crop is None or self._plan.transforms is None:
            return np.asarray(frame)
        return warp(frame, self._plan.transforms[index], self._spec.crop.size, self._spec.crop.fill)

    def __call__(self, done: tuple[_Item, np.ndarray]) -> tuple[float, Image]:
        item, edited = done
        if self._spec.crop is None or self._plan.transforms is None:
            return item.time_s, edited
        size, transform = self._spec.crop.size, self._plan.transforms[item.index]
        with self._clock.part("paste"):
            landmarks = warp_points(self._plan.tracks.landmarks[item.index], transform)
            alpha = paste_alpha(landmarks, size)
            cast = colour_cast(item.view, edited, alpha)
            if self._cast is not None:
                cast = COLOUR_MEMORY * self._cast + (1 - COLOUR_MEMORY) * cast
            self._cast = cast
            crop = recoloured(edited, cast)
            weight = np.float32(self._plan.weight[item.index])
            return item.time_s, paste_part(item.frame, crop, transform, alpha * weight)


def paste_part(frame: Image, crop: np.ndarray, transform: np.ndarray, alpha: np.ndarray) -> Image:
    """``core.media.crop.paste`` of the crop's part that shows, which is a third of it."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        return frame
    # Three pixels around it, because cubic interpolation looks that far.
    y0, y1 = max(int(rows[0]) - 3, 0), int(rows[-1]) + 4
    x0, x1 = max(int(columns[0]) - 3, 0), int(columns[-1]) + 4
    moved = np.array(transform, dtype=np.float64)
    moved[:, 2] -= (x0, y0)
    return paste(frame, crop[y0:y1, x0:x1], moved, alpha[y0:y1, x0:x1])


def colour_cast(source: np.ndarray, edited: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gain and shift (2, 3) that give the edited crop the source's colours along the mask's edge.

    Args:
        source: crop as it was, (S, S, 3) uint8.
        edited: crop as it came back, the same shape.
        alpha: (S, S) paste mask.

    Returns:
        ``edited * gain + shift`` has the source's mean and spread, per channel, on the ring; gain 1
        and shift 0 when the ring is empty.
    """
    ring = (alpha > RING[0]) & (alpha < RING[1])
    if ring.sum() < 16:
        return np.array([[1.0] * 3, [0.0] * 3])
    target, given = source[ring].astype(np.float64), edited[ring].astype(np.float64)
    gain = np.clip((target.std(0) + 4) / (given.std(0) + 4), 1 / MAX_GAIN, MAX_GAIN)
    # About the ring's mean, so that the gain alone never moves its brightness.
    shift = np.clip(target.mean(0) - given.mean(0), -MAX_SHIFT, MAX_SHIFT)
    return np.stack([gain, shift + given.mean(0) * (1 - gain)])


def recoloured(crop: np.ndarray, cast: np.ndarray) -> np.ndarray:
    """The crop (S, S, 3) after a colour correction of ``colour_cast``: float32, 0 to 255."""
    moved = crop.astype(np.float32) * cast[0].astype(np.float32) + cast[1].astype(np.float32)
    return np.clip(moved, 0, 255)


def _crossfaded(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """New frames (N, ...) whose first ones go over from the old ones (M, ...) step by step."""
    count = len(old)
    share = ((np.arange(count) + 1) / (count + 1)).reshape(-1, 1, 1, 1)
    mixed = old + share * (new[:count].astype(np.float64) - old)
    return np.concatenate([np.rint(mixed).astype(np.uint8), new[count:]])
