"""Follows the face through a segment: 468 mesh points a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.sample import FPS
from core.weights import Store
from preprocessing.steps.frames import Frames

WEIGHTS = ("face_detection_short_range", "face_detection_full_range_sparse", "face_landmark")


@dataclass(frozen=True)
class Track:
    """Adds mesh (T, 468, 3) float32 in frame pixels and found (T,) bool.

    The largest face of the segment's first frame is followed; how many there were is the fact
    ``faces``. Frames without a face are bridged by interpolation when the gap is short.

    Attributes:
        store: where the weights lie.
        max_gap: longest run of frames without a face that is bridged.
        truncated: a segment with less than this part of its promised frames is rejected.
        look_every: the faces are counted every so many frames.
        threads: of the nets.
    """

    store: Store
    max_gap: int = 5
    truncated: float = 0.9
    look_every: int = 2 * FPS
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "track"
    needs = frozenset({"frames"})
    adds = frozenset({"mesh", "found"})

    def origin(self) -> dict[str, str]:
        """Nothing to stamp; misses the weights early."""
        for name in WEIGHTS:
            self.store.locate(name)
        return {}

    def setup(self) -> None:
        """Loads the detectors and the mesh net."""
        from models.experts.face import FaceMesh

        object.__setattr__(self, "_net", FaceMesh(self.store, threads=self.threads))

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Tracks; 1:1."""
        for clip in clips:
            yield self._track(clip)

    def _track(self, clip: Clip) -> Clip:
        frames: Frames = clip.fields["frames"]
        self._net.reset()
        points: list[np.ndarray | None] = []
        faces = since = 0
        for i, frame in enumerate(frames):
            if i % self.look_every == 0:
                faces = max(faces, len(self._net.detect(frame)))
            face = self._net.track(frame)
            points.append(None if face is None else face.landmarks)
            since = 0 if face else since + 1
            if since > self.max_gap:  # looking for a face everywhere is slow, and this can't pass
                reason = "face lost" if any(p is not None for p in points) else "no face"
                clip = clip.noting(faces=faces)
                return clip.rejected(self.name, reason, float(since), float(self.max_gap))
        found = np.array([p is not None for p in points])
        clip = clip.noting(faces=faces, face_found=round(float(found.mean()), 4) if points else 0.0)
        if len(points) < self.truncated * frames.promised:
            reason = "fewer frames than promised"
            return clip.rejected(self.name, reason, len(points), frames.promised)
        if not found.any():
            return clip.rejected(self.name, "no face", float(since), float(self.max_gap))
        return clip.having(mesh=bridge(points), found=found).noting(bridged=int((~found).sum()))


def bridge(points: Sequence[np.ndarray | None]) -> np.ndarray:
    """Meshes (T, 468, 3) float32 with the missing ones interpolated, held at the ends."""
    known = [i for i, p in enumerate(points) if p is not None]
    values = np.stack([p for p in points if p is not None]).astype(np.float32)
    at = np.interp(np.arange(len(points)), known, np.arange(len(known)))
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(known) - 1)
    part = (at - low)[:, None, None].astype(np.float32)
    mesh: np.ndarray = values[low] * (1 - part) + values[high] * part
    return mesh.astype(np.float32)
