"""Random patches of videos and photos, for training a codec: endless, augmented, from a seed.

People in the sources are few, so every patch is drawn at a random scale, colour, sharpness and
noise: the codec must learn pictures, not these faces.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from core.errors import InputError
from core.media.picture import ALONE

VIDEOS = frozenset({".mp4", ".mpg", ".mov", ".mkv", ".avi", ".webm"})
PHOTOS = frozenset({".png", ".jpg", ".jpeg"})
LONGEST_SIDE = 720

PACKAGED = {
    "skimage": (
        "data/astronaut.png",
        "data/camera.png",
        "data/coffee.png",
        "data/chelsea.png",
        "data/rocket.jpg",
        "data/retina.jpg",
        "data/hubble_deep_field.jpg",
        "data/grass.png",
        "data/brick.png",
        "data/gravel.png",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}
"""Photos inside installed packages: public domain or CC0 (scikit-image, matplotlib), CC BY 2.0
(scikit-learn)."""


def packaged_photos() -> list[Path]:
    """Those photos of ``PACKAGED`` that are installed here."""
    found = []
    for package, names in PACKAGED.items():
        spec = importlib.util.find_spec(package)
        roots = list(spec.submodule_search_locations or []) if spec else []
        found += [Path(root) / name for root in roots for name in names]
    return [path for path in found if path.is_file()]


def load_frames(path: Path, every: int = 5, limit: int = 40) -> list[np.ndarray]:
    """Frames (H,W,3 uint8 RGB) of a video, each ``every``-th, or the one picture of a photo.

    Larger pictures are shrunk to ``LONGEST_SIDE``.

    Raises:
        InputError: the file can't be read.
    """
    try:
        if path.suffix.lower() in PHOTOS:
            picture = cv2.imread(str(path))
            if picture is None:
                raise InputError(f"can't read the picture {path}; remove it or mend it")
            return [_shrunk(np.ascontiguousarray(picture[..., ::-1]))]
        with av.open(str(path)) as container:
            frames: list[np.ndarray] = []
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    frames.append(_shrunk(frame.to_ndarray(format="rgb24", threads=ALONE)))
                if len(frames) == limit:
                    break
    except (av.FFmpegError, IndexError) as error:
        raise InputError(f"can't read the video {path} ({error}); remove it or mend it") from error
    if not frames:
        raise InputError(f"{path} holds no frame; remove it")
    return frames


def _shrunk(frame: np.ndarray) -> np.ndarray:
    factor = LONGEST_SIDE / max(frame.shape[:2])
    if factor >= 1:
        return frame
    return cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Group:
    """Sources drawn from with one probability: a file is drawn first, then one of its frames."""

    name: str
    share: float
    files: tuple[Path, ...]


def groups(
    real: Sequence[Path] = (), synthetic: Sequence[Path] = (), photos: bool = True
) -> list[Group]:
    """The usual three groups: real clips, photos, rendered clips; empty ones are left out."""
    given = [
        Group("real clips", 0.4, _expand(real)),
        Group("photos", 0.3, tuple(packaged_photos()) if photos else ()),
        Group("rendered clips", 0.3, _expand(synthetic)),
    ]
    found = [group for group in given if group.files]
    if not found:
        raise InputError("no picture or video to take patches from; name a folder that holds some")
    return found


def _expand(paths: Sequence[Path]) -> tuple[Path, ...]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"no file or folder {path}; check the path")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [p for p in inside if p.suffix.lower() in VIDEOS | PHOTOS]
    return tuple(files)


def cut(frame: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A patch (S,S,3) at a random scale, flipped half the time.

    Scales run from the whole short side down to a third enlargement; centres lean to the middle
    of the frame, where people are.
    """
    height, width = frame.shape[:2]
    short = min(height, width)
    largest = min(float(short), 4.0 * size)
    side = float(np.exp(rng.uniform(np.log(0.75 * size), np.log(max(largest, size)))))
    side_x = min(float(width), side * np.exp(rng.uniform(-0.1, 0.1)))
    side_y = min(float(height), side)
    x0 = int(rng.triangular(0, 0.5, 1) * (width - side_x))
    y0 = int(rng.triangular(0, 0.5, 1) * (height - side_y))
    window = frame[y0 : y0 + max(8, round(side_y)), x0 : x0 + max(8, round(side_x))]
    shrink = side >= size
    patch = cv2.resize(
        window, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )
    return patch[:, ::-1] if rng.random() < 0.5 else patch


def augment(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch with random colour, gamma, sharpness and noise; uint8 to uint8."""
    x: np.ndarray = patch.astype(np.float32) / 255
    if rng.random() < 0.6:
        mix = np.eye(3) + rng.normal(0, 0.06, (3, 3))
        x = x @ mix.T.astype(np.float32)
        x = x * rng.uniform(0.8, 1.2, 3).astype(np.float32) + np.float32(rng.normal(0, 0.05))
        x = np.clip(x, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.3)))
    kind = rng.random()
    if kind < 0.35:
        soft = cv2.GaussianBlur(x, (0, 0), 1.0)
        x = x + np.float32(rng.uniform(0, 1.2)) * (x - soft)
    elif kind < 0.45:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.2:
        x = x + rng.normal(0, rng.uniform(0, 0.015), x.shape).astype(np.float32)
    return (np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)
