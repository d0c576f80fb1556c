"""Follows the face through a segment: 468 mesh points a frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from core.clip import Clip, content_id
from core.sample import FPS
from core.weights import Store
from preprocessing.steps.frames import Frames

Finder = Literal["mesh", "insightface"]
WEIGHTS = ("face_detection_short_range", "face_detection_full_range_sparse", "face_landmark")


@dataclass(frozen=True)
class Track:
    """Adds mesh (T, 468, 3) float32 in frame pixels and found (T,) bool.

    The largest face of the segment's first frame is followed; how many there were is the fact
    ``faces``. Frames without a face are bridged by interpolation when the gap is short. A face that
    leaves for longer and comes back splits the segment: the parts keep their place on the clip's
    time line (``first_frame``), and what lies between them is rejected.

    Attributes:
        store: where the weights lie.
        faces: who finds faces: the mesh's own detectors, or InsightFace (SCRFD, and ArcFace to go
            on with the same person after a gap).
        max_gap: longest run of frames without a face that is bridged.
        min_frames: shortest part to keep of a segment that was split.
        truncated: a segment with less than this part of its promised frames is rejected.
        look_every: the faces are counted every so many frames.
        look_again: in a long gap a face is looked for every so many frames.
        threads: of the nets.
    """

    store: Store
    faces: Finder = "mesh"
    max_gap: int = 5
    min_frames: int = FPS
    truncated: float = 0.9
    look_every: int = 2 * FPS
    look_again: int = 5
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "track"
    needs = frozenset({"frames"})
    adds = frozenset({"mesh", "found"})

    def origin(self) -> dict[str, str]:
        """Who finds faces, unless it is the mesh; misses the weights early."""
        if self.faces == "mesh":
            for name in WEIGHTS:
                self.store.locate(name)
            return {}
        self._open()
        return {"faces": self.faces}

    def setup(self) -> None:
        """Loads the detectors and the mesh net."""
        object.__setattr__(self, "_net", self._open())

    def _open(self) -> Any:
        if self.faces == "insightface":
            from models.experts.insight import InsightFaces

            return InsightFaces(self.store, threads=self.threads)
        from models.experts.face import FaceMesh

        return FaceMesh(self.store, threads=self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Tracks; 1:N."""
        for clip in clips:
            yield from self._track(clip)

    def _track(self, clip: Clip) -> Iterable[Clip]:
        frames: Frames = clip.fields["frames"]
        points, faces = self._follow(frames)
        found = np.array([p is not None for p in points], bool)
        part = round(float(found.mean()), 4) if points else 0.0
        clip = clip.noting(faces=max(faces.values(), default=0), face_found=part)
        if len(points) < self.truncated * frames.promised:
            reason = "fewer frames than promised"
            yield clip.rejected(self.name, reason, len(points), frames.promised)
            return
        parts = runs(found, self.max_gap)
        if len(parts) == 1 and parts[0].seen:
            yield _tracked(clip, points, found)
            return
        for run in parts:
            yield self._part(clip, run, points, found, faces)

    def _follow(self, frames: Frames) -> tuple[list[np.ndarray | None], dict[int, int]]:
        """A mesh or None for each frame, and how many faces there were in the frames counted."""
        self._net.reset()
        points: list[np.ndarray | None] = []
        faces: dict[int, int] = {}
        since = 0
        for i, frame in enumerate(frames):
            if i % self.look_every == 0:
                faces[i] = len(self._net.detect(frame))
            # Looking for a face everywhere is slow, so a long gap is looked at now and then.
            idle = since > self.max_gap and since % self.look_again
            face = None if idle else self._net.track(frame)
            points.append(None if face is None else face.landmarks)
            since = 0 if face else since + 1
        return points, faces

    def _part(
        self,
        clip: Clip,
        run: Run,
        points: Sequence[np.ndarray | None],
        found: np.ndarray,
        faces: Mapping[int, int],
    ) -> Clip:
        """A part of a segment as a clip of its own, on the same time line."""
        part = _cut(clip, run.first, run.last)
        frames = run.last - run.first
        if not run.seen:
            return part.rejected(self.name, "no face", frames, self.max_gap)
        if frames < self.min_frames:
            return part.rejected(self.name, "face seen too briefly", frames, self.min_frames)
        inside = [n for i, n in faces.items() if run.first <= i < run.last]
        part = part.noting(faces=max(inside, default=part.facts["faces"]))
        rows = slice(run.first, run.last)
        return _tracked(part, points[rows], found[rows])


@dataclass(frozen=True)
class Run:
    """Frames ``first`` to ``last`` (exclusive) in which a face is seen, or none is."""

    first: int
    last: int
    seen: bool


def runs(found: np.ndarray, max_gap: int) -> list[Run]:
    """A segment's frames (T,) bool as runs with and without a face, in order.

    Gaps of up to ``max_gap`` frames belong to the run around them, at the ends as well.
    """
    edges = np.flatnonzero(np.diff(found)) + 1
    borders = [0, *edges.tolist(), len(found)]
    joined: list[Run] = []
    for first, last in itertools.pairwise(borders):
        seen = bool(found[first]) or last - first <= max_gap
        if joined and joined[-1].seen == seen:
            joined[-1] = replace(joined[-1], last=last)
        else:
            joined.append(Run(first, last, seen))
    if not found.any():  # a segment of nothing but a short gap
        return [Run(0, len(found), False)]
    return joined


def _cut(clip: Clip, first: int, last: int) -> Clip:
    """Frames ``first`` to ``last`` of a segment: span, id, first_frame, frames and sound."""
    assert clip.span_s is not None, "segment comes before track"
    span = (clip.span_s[0] + first / FPS, clip.span_s[0] + last / FPS)
    part = replace(clip, id=content_id(clip.content, span), span_s=span)
    part = part.noting(first_frame=int(clip.facts["first_frame"]) + first)
    around = clip.fields.get("sound_around")
    if around is not None:
        part = part.having(sound_around={**around, "offset": around["offset"] + first})
    return part.having(frames=clip.fields["frames"].part(first, last))


def _tracked(clip: Clip, points: Sequence[np.ndarray | None], found: np.ndarray) -> Clip:
    return clip.having(mesh=bridge(points), found=found).noting(
        face_found=round(float(found.mean()), 4), bridged=int((~found).sum())
    )


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
