"""First pass: where the face is in every frame. Keeps numbers and never frames.

Landmarks go to an unnamed temporary file, so that an hour of video needs no more memory than a
minute; everything else that is kept is a few bytes a frame.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import cv2
import numpy as np

from core.media.shapes import head_pose, opening
from core.media.video import Image

POINTS = 468
COUNT_EVERY = 25
"""Frames between two searches of the whole picture for further faces; a search costs about ten
tracked frames."""
PATIENCE = 5
SHARPNESS_SIDE = 96
JUMP = 0.5
"""A face that moves further between two frames, in its own widths, was cut to, not followed."""
BLOCK = 512
"""Meshes measured at once."""


class Tracker(Protocol):
    """Follows a face through a video, as ``models.experts.face.FaceMesh`` does."""

    def reset(self) -> None:
        """Forgets the face."""

    def track(self, frame: Image) -> Any:
        """The followed (or largest) face of the next frame (H, W, 3 uint8), or None."""

    def detect(self, frame: Image) -> list[Any]:
        """All faces of a frame, the largest first."""


class Patient:
    """A tracker that stops searching every frame of a long stretch without a face.

    A search that finds nothing looks everywhere and takes about a tenth of a second; after
    ``PATIENCE`` such frames only every ``PATIENCE``-th is searched, so a face that comes back may
    be missed for that many frames less one.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self._missed = tracker, 0

    def reset(self) -> None:
        """Forgets the face."""
        self._tracker.reset()

    def detect(self, frame: Image) -> list[Any]:
        """All faces of a frame, or none where it isn't searched."""
        return [] if self._missed > PATIENCE else self._tracker.detect(frame)

    def track(self, frame: Image) -> Any:
        """The face of the next frame, or None."""
        if self._missed > PATIENCE and self._missed % PATIENCE:
            self._missed += 1
            return None
        face = self._tracker.track(frame)
        self._missed = 0 if face is not None else self._missed + 1
        return face


class Meshes:
    """(T, 468, 3) float32 on disk, read when asked for: an array in all that is asked of it here.

    Not mapped: pages that were touched once would count as memory for the rest of the run.

    Args:
        file: T meshes, one after the other; kept open by this value.
        count: T.
    """

    def __init__(self, file: IO[bytes], count: int) -> None:
        self._file, self.shape = file, (count, POINTS, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by number, slice or sorted indices; further subscripts as of an array."""
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        numbers = np.arange(len(self))[rows]
        if numbers.ndim == 0:
            found = self._read(int(numbers), int(numbers) + 1)[0]
        elif not len(numbers):
            found = np.zeros((0, POINTS, 3), np.float32)
        else:
            first = int(numbers[0])
            found = self._read(first, int(numbers[-1]) + 1)[numbers - first]
        lead = () if numbers.ndim == 0 else (slice(None),)
        picked: np.ndarray = found[(*lead, *rest)] if rest else found
        return picked

    def _read(self, first: int, end: int) -> np.ndarray:
        size = POINTS * 3 * 4
        data = os.pread(self._file.fileno(), (end - first) * size, first * size)
        return np.frombuffer(data, np.float32).reshape(end - first, POINTS, 3)


@dataclass(frozen=True)
class Tracks:
    """What the first pass found. T frames.

    Attributes:
        times_s: (T,) time of each frame.
        found: (T,) bool, whether there is a face.
        landmarks: (T, 468, 3) float32 in frame pixels, 0 where there is none; an array, or
            ``Meshes`` on disk.
        sharpness: (T,) standard deviation of the face's Laplacian at a common size, 0 without face.
        opening: (T,) mouth opening over face height.
        yaw: (T,) degrees.
        start: (T,) bool, True where a run of one and the same face starts (after a gap or a cut).
        faces: the most faces seen at once.
    """

    times_s: np.ndarray
    found: np.ndarray
    landmarks: Any
    sharpness: np.ndarray
    opening: np.ndarray
    yaw: np.ndarray
    start: np.ndarray
    faces: int

    def __len__(self) -> int:
        return len(self.times_s)


def follow(
    frames: Iterable[tuple[float, Image]],
    trackers: Sequence[Tracker],
    progress: Callable[[int], None] = lambda done: None,
) -> list[Tracks]:
    """Tracks a face by each tracker through all frames.

    A face that comes in larger than the one being followed takes over at the next search, and the
    followed one is given up there.

    Args:
        frames: (time in seconds, (H, W, 3) uint8 RGB or a picture).
        trackers: what finds the faces; they are reset first.
        progress: told the number of frames done.
    """
    followers = [_Follower(tracker) for tracker in trackers]
    for done, (time, frame) in enumerate(frames, start=1):
        for follower in followers:
            follower.push(time, frame)
        progress(done)
    return [follower.tracks() for follower in followers]


class _Follower:
    """What one tracker finds, frame by frame."""

    def __init__(self, tracker: Tracker) -> None:
        tracker.reset()
        self._tracker, self._most = tracker, 0
        # Packed: as objects, an hour of them takes as much memory as the frames at hand.
        self._times, self._sharpness = array("d"), array("d")
        self._found = array("b")
        self._spill = tempfile.TemporaryFile(prefix="flashlips-tracks-")  # noqa: SIM115 - Meshes'

    def push(self, time: float, frame: Image) -> None:
        """Looks at the next frame."""
        if len(self._times) % COUNT_EVERY == 0:
            seen = self._tracker.detect(frame)
            self._most = max(self._most, len(seen))
            if len(seen) > 1:
                self._tracker.reset()  # the next line then picks the largest
        face = self._tracker.track(frame)
        points = np.zeros((POINTS, 3), np.float32) if face is None else face.landmarks
        self._spill.write(np.ascontiguousarray(points, dtype=np.float32).tobytes())
        self._times.append(time)
        self._found.append(face is not None)
        self._sharpness.append(0.0 if face is None else _sharpness(frame, points))

    def tracks(self) -> Tracks:
        """All of it."""
        self._spill.flush()
        landmarks = Meshes(self._spill, len(self._times))
        found = np.array(self._found, dtype=bool)
        gaps, yaw = _measured(landmarks, found)
        return Tracks(
            times_s=np.array(self._times),
            found=found,
            landmarks=landmarks,
            sharpness=np.array(self._sharpness),
            opening=gaps,
            yaw=yaw,
            start=_starts(landmarks, found),
            faces=self._most,
        )


def _sharpness(frame: Image, points: np.ndarray) -> float:
    """Standard deviation of the Laplacian of the face's box, shrunk to a common size."""
    limit = (frame.shape[1], frame.shape[0])
    low = np.clip(points[:, :2].min(0).astype(int), 0, limit)
    high = np.clip(points[:, :2].max(0).astype(int) + 1, 0, limit)
    if (high - low).min() < 2:
        return 0.0
    side = (SHARPNESS_SIDE, SHARPNESS_SIDE)
    box = cv2.resize(frame[low[1] : high[1], low[0] : high[0]], side, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(cv2.cvtColor(box, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())


def _measured(landmarks: Meshes, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mouth opening and yaw, each (T,) float32, 0 where there is no face."""
    gaps, yaw = np.zeros(len(found), np.float32), np.zeros(len(found), np.float32)
    for first in range(0, len(found), BLOCK):
        where = first + np.flatnonzero(found[first : first + BLOCK])
        if len(where):
            meshes = landmarks[where]
            gaps[where], yaw[where] = opening(meshes), head_pose(meshes)[:, 0]
    return gaps, yaw


def _starts(landmarks: Meshes, found: np.ndarray) -> np.ndarray:
    """(T,) bool, True at the first frame of each run of one face."""
    blocks = [
        landmarks[first : first + BLOCK, [33, 263], :2] for first in range(0, len(found), BLOCK)
    ]
    eyes = np.concatenate(blocks) if blocks else np.zeros((0, 2, 2), np.float32)
    middle, width = eyes.mean(1), np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1)
    moved = np.linalg.norm(np.diff(middle, axis=0), axis=-1)
    grown = np.abs(np.diff(width))
    jump = np.maximum(moved, grown) > JUMP * np.maximum(width[:-1], 1e-6)
    return found & np.concatenate([[True], ~found[:-1] | jump])[: len(found)]
