"""Dummies: real tiny media files and a drawn face, for tests, examples and newcomers.

Nothing here is random: equal arguments give equal frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import soundfile

from core.contracts import PredictorSpec
from core.media.audio import Sound
from core.media.crop import FLASHLIPS_128
from core.media.shapes import CHEEKS, FACE, INNER_LIPS, OUTER_LIPS
from core.media.video import VideoWriter

MESH_POINTS = 468
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
"""Inner lip, corner to corner over the top; the lower one is its mirror image, same order."""
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
JAW = ((93, 323), (132, 361), (58, 288), (172, 397), (136, 365), (150, 379), (149, 378), (176, 400))
CHIN = 152


def dummy_sound(
    path: Path,
    seconds: float = 2.0,
    rate: int = 16_000,
    spans: tuple[tuple[float, float], ...] = (),
) -> Path:
    """Writes a WAV of silence with a buzz in ``spans`` (start, end, seconds); returns its path.

    Without spans the buzz fills everything but the first and last quarter.
    """
    time = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(len(time), np.float32)
    for start, end in spans or ((seconds / 4, 3 * seconds / 4),):
        heard = (time >= start) & (time < end)
        sound[heard] = 0.3 * np.sign(np.sin(2 * np.pi * 140 * time[heard]))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate)
    return path


def dummy_frame(index: int, width: int = 160, height: int = 120) -> np.ndarray:
    """A frame without a face: a smooth background over which a square moves. (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([x * 200 // width, y * 200 // height, (x + y) * 100 // width], -1)
    frame = frame.astype(np.uint8)
    side = height // 4
    left = (3 * index) % (width - side)
    frame[side : 2 * side, left : left + side] = (250, 240, 60)
    return frame


def dummy_video(
    path: Path,
    seconds: float = 1.0,
    fps: Fraction = Fraction(25),
    size: tuple[int, int] = (160, 120),
    sound: bool = True,
    face: bool = False,
) -> Path:
    """Writes a real mp4; returns its path.

    Args:
        path: of the file.
        seconds: length.
        fps: exact rate.
        size: (width, height).
        sound: whether it has a sound track (a tone).
        face: whether a drawn, talking face moves through it, or a square.
    """
    frames = round(seconds * fps)
    tone = 0.2 * np.sin(np.arange(round(seconds * 16_000)) / 16_000 * 2 * np.pi * 220)
    with VideoWriter(
        path, *size, fps, sound=tone.astype(np.float32) if sound else None, crf=12
    ) as out:
        for index in range(frames):
            out.write(talking_frame(index, *size)[0] if face else dummy_frame(index, *size))
    return path


def dummy_mesh(
    centre: tuple[float, float], height: float, opening: float = 0.0, roll: float = 0.0
) -> np.ndarray:
    """A plausible 468-point mesh of the mean face, frontal.

    Points that the project looks at (stable points, cheeks, lips, jaw) have their places; the
    others lie on an ellipse behind them.

    Args:
        centre: of the nasion, pixels.
        height: forehead to chin, pixels.
        opening: gap between the inner lips over the face's height.
        roll: degrees.

    Returns:
        (468, 3) float32.
    """
    angle = np.arange(MESH_POINTS) * 2.399963
    radius = 0.3 * np.sqrt(np.arange(MESH_POINTS) / MESH_POINTS)
    mesh = np.stack([radius * np.cos(angle), 0.2 + radius * np.sin(angle), 0 * angle], -1)
    for index, mirror, x, y, z in FACE:
        mesh[index], mesh[mirror] = (x, y, z), (-x, y, z)
    for (right, left), place in zip(JAW, CHEEKS, strict=False):
        x, y, z = place[0], place[1] + opening * min(max((place[1] - 0.2) / 0.5, 0), 1), place[2]
        mesh[left], mesh[right] = (x, y, z), (-x, y, z)
    mesh[[234, 454]] = [(-0.3995, 0.1703, 0.4327), (0.3995, 0.1703, 0.4327)]
    mesh[CHIN] = (0, 0.7121 + opening, 0.05)
    across = np.linspace(-1, 1, 11)
    arch = np.sqrt(1 - across**2)
    for points, half, rise in (
        (OUTER_UPPER, 0.14, -0.035),
        (OUTER_LOWER, 0.14, 0.045 + opening),
        (INNER_UPPER, 0.11, -0.0005),
        (INNER_LOWER, 0.11, 0.0005 + opening),
    ):
        mesh[list(points)] = np.stack([half * across, 0.46 + rise * arch, 0 * arch - 0.05], -1)
    cos, sin = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    mesh[:, :2] = mesh[:, :2] @ np.array([[cos, sin], [-sin, cos]])
    return (mesh * height + (*centre, 0.0)).astype(np.float32)


def draw_face(frame: np.ndarray, mesh: np.ndarray) -> np.ndarray:
    """A copy of the frame (H, W, 3 uint8) with a simple face drawn where the mesh (468, 3) lies."""
    out = frame.copy()
    height = float(np.hypot(*(mesh[CHIN, :2] - mesh[10, :2])))
    oval = np.concatenate([mesh[[10, 338, 297, 332, 284, 251, 389, 356, 454], :2],
                           mesh[[left for _, left in JAW], :2], mesh[[CHIN], :2],
                           mesh[[right for right, _ in JAW][::-1], :2],
                           mesh[[234, 127, 162, 21, 54, 103, 67, 109], :2]])  # fmt: skip
    _fill(out, cv2.convexHull(oval)[:, 0], (224, 178, 150))
    for outer, inner in ((33, 133), (263, 362)):
        middle, reach = mesh[[outer, inner], :2].mean(0), 0.07 * height
        for size, colour in (((1.0, 0.5), (245, 245, 245)), ((0.45, 0.45), (70, 45, 30))):
            _ellipse(out, middle, (reach * size[0], reach * size[1]), colour)
        _ellipse(out, middle - (0, 1.5 * reach), (1.2 * reach, 0.2 * reach), (80, 55, 40))
    tip = mesh[195, :2] * 2 - mesh[197, :2]
    _ellipse(out, tip, (0.06 * height, 0.025 * height), (196, 148, 122))
    _fill(out, mesh[list(OUTER_LIPS), :2], (188, 84, 84))
    _fill(out, mesh[list(INNER_LIPS), :2], (60, 15, 20))
    return cv2.GaussianBlur(out, (3, 3), 0)


def talking_frame(index: int, width: int = 320, height: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Frame number ``index`` of a drawn, talking, slowly moving head, and the mesh it was drawn by.

    Returns:
        (H, W, 3) uint8 and (468, 3) float32.
    """
    tall = 0.5 * min(width, height)
    centre = (
        width / 2 + 0.04 * width * np.sin(index / 12),
        height * 0.4 + 0.02 * height * np.cos(index / 9),
    )
    mesh = dummy_mesh(centre, tall, opening=0.05 * (1 - np.cos(index / 2.5)), roll=0.0)
    return draw_face(dummy_frame(index, width, height), mesh), mesh


def talking_video(path: Path, frames: int = 15, index: int = 0) -> Path:
    """Writes 320 x 240 of a drawn, talking face at 25 fps; another ``index`` is another clip."""
    tone = 0.1 * np.sin(np.arange(640 * frames) / (8 + index)).astype(np.float32)
    with VideoWriter(path, 320, 240, Fraction(25), tone, crf=10) as out:
        for at in range(frames):
            out.write(talking_frame(at + 3 * index)[0])
    return path


def truncated(source: Path, path: Path, part: float = 0.6) -> Path:
    """Writes the first ``part`` of a file's bytes to ``path``; returns it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def playlist(path: Path, target: Path) -> Path:
    """Writes a playlist that points to ``target``, whatever ``path``'s suffix says; returns it."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n")
    return path


@dataclass(frozen=True)
class KnownFace:
    """A face whose mesh is known, where a tracker's answer is wanted."""

    landmarks: np.ndarray
    score: float = 1.0


class KnownFaces:
    """A tracker that needs no weights: it was told where the face is in each frame.

    Args:
        meshes: frame index -> (468, 3) mesh, or None where there is no face.
        faces: how many it claims to see at once.
    """

    def __init__(self, meshes: Callable[[int], np.ndarray | None], faces: int = 1) -> None:
        self._meshes, self._faces, self._index = meshes, faces, -1

    def reset(self) -> None:
        """Forgets nothing: the frame's number is all it knows."""

    def track(self, frame: np.ndarray) -> KnownFace | None:
        """The face of the next frame."""
        self._index += 1
        mesh = self._meshes(self._index)
        return None if mesh is None else KnownFace(mesh)

    def detect(self, frame: np.ndarray) -> list[KnownFace]:
        """The faces of the frame that comes next."""
        mesh = self._meshes(self._index + 1)
        return [] if mesh is None else [KnownFace(mesh)] * self._faces


def inverted(views: np.ndarray, number: int) -> np.ndarray:
    """Views (N, H, W, 3) as negatives: an edit that nobody overlooks."""
    return 255 - views


ONE_FRAME = PredictorSpec(FLASHLIPS_128, 25.0, window=1, overlap=0, references=4)


@dataclass
class DummyPredictor:
    """A predictor without weights; also its own session, and remembers what it was given.

    Attributes:
        spec: one crop at a time by default.
        edit_with: (views, number of the call) -> views.
        calls: times of the frames of each call. references, sound, seed: as last prepared.
    """

    spec: PredictorSpec = ONE_FRAME
    edit_with: Callable[[np.ndarray, int], np.ndarray] = inverted
    calls: list[np.ndarray] = field(default_factory=list)
    references: np.ndarray | None = None
    sound: Sound | None = None
    seed: int = 0

    def prepare(self, references: np.ndarray, sound: Sound, seed: int = 0) -> DummyPredictor:
        """Remembers its arguments."""
        self.references, self.sound, self.seed, self.calls = references, sound, seed, []
        return self

    def edit(self, frames: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """Edits frames (N, H, W, 3) uint8."""
        self.calls.append(times_s)
        return self.edit_with(frames, len(self.calls) - 1)


def _fill(frame: np.ndarray, outline: np.ndarray, colour: tuple[int, int, int]) -> None:
    corners = np.round(outline * 16).astype(np.int32)
    cv2.fillPoly(frame, [corners], colour, lineType=cv2.LINE_AA, shift=4)


def _ellipse(
    frame: np.ndarray, centre: np.ndarray, axes: tuple[float, float], colour: tuple[int, int, int]
) -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    _fill(frame, centre + np.stack([axes[0] * np.cos(angle), axes[1] * np.sin(angle)], -1), colour)
