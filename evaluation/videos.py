"""Videos as metrics see them: read once, cropped, measured; and the cases made of them.

A case says which video is compared with what. In cross-audio LipScore looks at the video that the
sound came from, while identity and landmarks look at the source: the case holds both, by name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from core.errors import InputError
from core.media.audio import read_sound
from core.media.crop import FLASHLIPS_128, CropSpec, warp
from core.media.video import Image, read_frames_at, read_pictures
from core.sample import SAMPLE_RATE

Kind = Literal["self", "cross", "silent"]
"""The source's own sound; another clip's; none."""
CROP = replace(FLASHLIPS_128, size=256)
WIDE = 512
"""Longest side of whole frames that are kept."""


@dataclass(frozen=True)
class Viewing:
    """How videos are read; part of a benchmark's version.

    Attributes:
        fps: frames are those nearest to each 1 / fps.
        seconds: at most so much from the beginning; None is all.
        crop: of faces; fitted to the source, the output is cut at the very same places.
        wide: longest side of the whole frames that are kept, pixels.
    """

    fps: float = 25.0
    seconds: float | None = None
    crop: CropSpec = CROP
    wide: int = WIDE


@dataclass(frozen=True)
class Seen:
    """One video as metrics see it. T frames.

    Attributes:
        path: of the file. sha: 16 hex digits of its bytes.
        frames: (T,h,w,3) uint8, whole frames, shrunk to the viewing's longest side; (T,0,0,3) when
            the reader was told that nobody looks at them.
        crops: (T,S,S,3) uint8 around the face.
        transforms: (T,2,3), pixels of the full-sized frame -> crop pixels.
        mesh: (T,468,3) in crop pixels, NaN where no face was found.
        size: (width, height) of the file's frames.
        sound: (N,) float32, 16 kHz mono; empty where there is none.
        fps: frames a second.
    """

    path: Path
    sha: str
    frames: np.ndarray
    crops: np.ndarray
    transforms: np.ndarray
    mesh: np.ndarray
    size: tuple[int, int]
    sound: np.ndarray
    fps: float

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def found(self) -> np.ndarray:
        """(T,) bool, whether there is a face."""
        return np.isfinite(self.mesh[:, 0, 0])


@dataclass(frozen=True)
class VideoCase:
    """One edited video beside what it is compared with; all have as many frames.

    Attributes:
        name: of the pair. system: who edited.
        output: the edited video.
        source: the video that was edited: identity, landmarks, pixels and background are its.
        audio: the new sound, (N,) float32, 16 kHz mono.
        audio_video: the video that the sound came from, whose lips move as they should; the source
            itself in ``self``, None where there is none.
        kind: see ``Kind``. category: of the pair, in benchmarks that have some.
    """

    name: str
    system: str
    output: Seen
    source: Seen
    audio: np.ndarray
    audio_video: Seen | None
    kind: Kind = "self"
    category: str = ""
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What several metrics need of this case, made once."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]


@dataclass(frozen=True)
class Missing:
    """A metric that is not computed.

    Attributes:
        name: of the metric.
        weights: registered weights that are in no weights folder.
        remedy: what a person does to get them.
    """

    name: str
    weights: tuple[str, ...]
    remedy: str


class VideoMetric(Protocol):
    """One measure of edited videos: ``observe`` runs anywhere, ``reduce`` once over all cases.

    Attributes:
        name: of the metric; its numbers start with it.
        better: which way, as ``core.contracts.Metric``.
        needs: names of registered weights without which it is not computed under its name.
        kinds: of cases it says something about.

    One that measures a whole set at once, such as FID, has ``pooled = True`` besides and may have
    ``note(rows)``, what to say beside its number. One that looks at ``Seen.frames`` has
    ``whole = True``.
    """

    name: str
    better: Literal["higher", "lower", "one"]
    needs: tuple[str, ...]
    kinds: tuple[Kind, ...]

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """Values of one case, each with the same first axis: frames, or windows of frames."""

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """Numbers over the cases' values, by name; the order of the rows changes nothing."""


class Reader:
    """Reads videos for metrics and remembers the last ones, so that each is read once.

    Args:
        viewing: how.
        tracker: finds and follows faces, as ``models.experts.face.FaceMesh`` does.
        keep: how many videos are remembered.
        whole: whether whole frames are kept, too.
    """

    def __init__(self, viewing: Viewing, tracker: Any, keep: int = 4, whole: bool = True) -> None:
        self.viewing, self._tracker, self._whole = viewing, tracker, whole
        self._source = functools.lru_cache(keep)(self._read_source)

    def source(self, path: Path) -> Seen:
        """A video whose own face says where crops lie.

        Raises:
            InputError: unreadable, or nobody's face is found in it.
        """
        return self._source(Path(path))

    def output(self, path: Path, source: Seen) -> Seen:
        """A video cropped where ``source`` is; it must have the same size.

        Raises:
            InputError: unreadable, or of another size or length.
        """
        frames, crops, meshes = [], [], []
        size = (0, 0)
        for index, frame in enumerate(self._frames(path)):
            size = (frame.shape[1], frame.shape[0])
            if size != source.size:
                raise InputError(
                    f"{path} is {size[0]} x {size[1]}, its source {source.size[0]} x "
                    f"{source.size[1]}; write it in the source's size"
                )
            if index < len(source):
                crop = warp(frame, source.transforms[index], self.viewing.crop.size)
                crops.append(crop)
                meshes.append(self._mesh_of(crop))
                frames.append(self._kept(frame))
        if abs(index + 1 - len(source)) > 1:
            raise InputError(
                f"{path} has {index + 1} frames, its source {len(source)}; write as many as the "
                "source has"
            )
        count = len(crops)
        return Seen(
            Path(path), file_sha(path), np.stack(frames), np.stack(crops),
            source.transforms[:count], np.stack(meshes), size, sound_of(path), self.viewing.fps,
        )  # fmt: skip

    def _frames(self, path: Path) -> Iterator[Image]:
        span = None if self.viewing.seconds is None else (0.0, self.viewing.seconds)
        for _, frame in read_frames_at(Path(path), self.viewing.fps, span, read_pictures):
            yield frame

    def _read_source(self, path: Path) -> Seen:
        self._tracker.reset()
        wholes, points, found = [], [], []
        for frame in self._frames(path):
            face = self._tracker.track(frame)
            found.append(face is not None)
            points.append(np.zeros((468, 3), np.float32) if face is None else face.landmarks)
            wholes.append(frame)
        if not any(found):
            raise InputError(f"no face was found in {path}; leave it out, or give another copy")
        spec, known = self.viewing.crop, np.array(found)
        transforms = spec.fit(np.stack(points), known)
        crops = [warp(f, t, spec.size) for f, t in zip(wholes, transforms, strict=True)]
        # Measured on the crops, as outputs are: two ways of measuring differ by more than systems.
        mesh = np.stack([self._mesh_of(crop) for crop in crops])
        size = (wholes[0].shape[1], wholes[0].shape[0])
        return Seen(
            path, file_sha(path), np.stack([self._kept(f) for f in wholes]), np.stack(crops),
            transforms, mesh, size, sound_of(path), self.viewing.fps,
        )  # fmt: skip

    def _kept(self, frame: Image) -> np.ndarray:
        """What is kept of a whole frame."""
        return shrunk(frame, self.viewing.wide) if self._whole else np.empty((0, 0, 3), np.uint8)

    def _mesh_of(self, crop: np.ndarray) -> np.ndarray:
        found = self._tracker.mesh_crop(crop)
        return np.full((468, 3), np.nan, np.float32) if found is None else found


def together(case: VideoCase) -> VideoCase:
    """The case with all its videos cut to the shortest's frames; a frame more or less is usual."""
    videos = [v for v in (case.output, case.source, case.audio_video) if v is not None]
    count = min(map(len, videos))
    return replace(
        case,
        output=first(case.output, count),
        source=first(case.source, count),
        audio_video=None if case.audio_video is None else first(case.audio_video, count),
        cache={},
    )


def first(seen: Seen, count: int) -> Seen:
    """The first frames of a video."""
    if len(seen) == count:
        return seen
    cut = {name: getattr(seen, name)[:count] for name in ("frames", "crops", "transforms", "mesh")}
    return replace(seen, **cut)


def shrunk(frame: Image, longest: int) -> np.ndarray:
    """A whole frame, (h,w,3) uint8, no side longer than ``longest``."""
    whole = np.asarray(frame)
    scale = longest / max(whole.shape[:2])
    if scale >= 1:
        return whole
    size = (max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale)))
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)


def sound_of(path: Path) -> np.ndarray:
    """A video's sound at 16 kHz, empty where there is none."""
    try:
        return read_sound(Path(path), SAMPLE_RATE)
    except InputError:
        return np.zeros(0, np.float32)


def file_sha(path: Path) -> str:
    """16 hex digits of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
