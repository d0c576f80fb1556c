"""Face detection and the 468-point mesh: MediaPipe's nets, our anchors, regions and tracking.

Everything here is a pure function of the frames since the last ``reset``. Runs on the CPU through
ai-edge-litert; a few milliseconds a tracked frame on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from core.media.crop import invert, warp, warp_points
from core.media.video import Image

if TYPE_CHECKING:
    from pathlib import Path

    from core.weights import Store

POINTS = 468
MESH_SIDE = 192
ROI_SCALE = 1.5  # the mesh net was trained on face boxes enlarged by this much
MIN_SCORE = 0.5
OVERLAP = 0.3
CONFIRM_EVERY = 5  # frames of a followed face; a changed picture is confirmed at once
CHANGED = 8.0  # grey levels: frame to frame 1 to 4 in the median on 13 clips; cuts from 18 up
CROP_ROI = (0.5, 0.394, 1.34)  # centre x, y and side of a face in an aligned crop, crop sides
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners, the person's own right and left


@dataclass(frozen=True)
class Face:
    """One face in a frame.

    Attributes:
        landmarks: (468, 3) float32; x, y in frame pixels, z in the same unit, smaller is nearer.
        score: the mesh net's own belief that this is a face, 0 to 1.
        box: x0, y0, x1, y1 around the landmarks, frame pixels.
    """

    landmarks: np.ndarray
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class _Region:
    """A turned square of a frame: centre and side in pixels, angle in radians."""

    x: float
    y: float
    side: float
    angle: float

    def transform(self, size: int) -> np.ndarray:
        """Affine map (2, 3) from frame pixels to a ``size`` x ``size`` picture of the region."""
        scale = size / self.side
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        turn = np.array([[cos, sin], [-sin, cos]])
        middle = (size - 1) / 2 - turn @ np.array([self.x, self.y])
        return np.hstack([turn, middle[:, None]]).astype(np.float32)

    def cut(self, frame: Image) -> np.ndarray:
        """The region as the mesh net wants to see it, (192, 192, 3)."""
        return warp(frame, self.transform(MESH_SIDE), MESH_SIDE)


class _Trust:
    """Whether a followed face is still believed without asking the detector.

    The detector costs more than the mesh. It is asked when the picture around the face changed much
    from one frame to the next, as at a cut, and every few frames in any case.
    """

    def __init__(self) -> None:
        self._seen: np.ndarray | None = None
        self._left = 0

    def doubts(self, picture: np.ndarray) -> bool:
        """Whether to ask about the next frame's picture of the face (H, W, 3)."""
        small = cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        jumped = self._seen is None or float(np.abs(small - self._seen).mean()) > CHANGED
        self._seen = small
        self._left = CONFIRM_EVERY if jumped or not self._left else self._left
        self._left -= 1
        return self._left == CONFIRM_EVERY - 1


class FaceMesh:
    """Finds faces and follows one of them through a clip.

    Args:
        store: where the three nets' weights lie.
        threads: for each net; more than one seldom pays at these sizes.

    Raises:
        InputError: a weight is missing; the sentence says how to fetch it.
    """

    def __init__(self, store: Store, threads: int = 1) -> None:
        self._open_detectors(store, threads)
        self._mesh = _Net(store.locate("face_landmark"), threads)
        self.reset()

    def _open_detectors(self, store: Store, threads: int) -> None:
        self._far = _Detector(
            store.locate("face_detection_full_range_sparse"), threads, side=192, layers=((4, 1),)
        )
        self._near = _Detector(
            store.locate("face_detection_short_range"), threads, side=128, layers=((8, 2), (16, 6))
        )

    def reset(self) -> None:
        """Forgets the tracked face; call it at the start of every clip."""
        self._last: np.ndarray | None = None
        self._trust = _Trust()

    def track(self, frame: Image) -> Face | None:
        """The face followed since ``reset``, or the largest one when there is none to follow.

        Args:
            frame: (H, W, 3) uint8 RGB or a picture, the next of the clip.
        """
        face = None if self._last is None else self._follow(frame, _around(self._last))
        if face is None:
            face, self._trust = self._pick(frame, self.detect(frame)), _Trust()
        self._last = None if face is None else face.landmarks
        return face

    def _follow(self, frame: Image, region: _Region) -> Face | None:
        """The face where it was a frame ago, if the detector agrees whenever it is asked."""
        picture = region.cut(frame)
        face = self._mesh_in(picture, region)
        doubtful = self._trust.doubts(picture)
        if face is None or (doubtful and not self._confirmed(frame, face)):
            return None
        return face

    def _pick(self, frame: Image, faces: list[Face]) -> Face | None:
        """Which of the faces to follow from here."""
        return faces[0] if faces else None

    def detect(self, frame: Image) -> list[Face]:
        """All faces of a frame that detector and mesh net agree on, the largest first.

        The whole frame is searched first; where nothing is found, square parts of it are, the upper
        ones first, so that a small face in a wide shot is not missed.
        """
        for group in _searches(*frame.shape[:2]):
            regions = [
                region
                for square in group
                for net in (self._far, self._near)
                for region in net.find(frame, square)
            ]
            faces = distinct([self._refine(frame, region, twice=True) for region in regions])
            if faces:
                return faces
        return []

    def _confirmed(self, frame: Image, face: Face) -> bool:
        """Whether the detector, too, sees a face where the mesh lies; ``_Trust`` says when to ask.

        After a cut or a jump the mesh net lays a face over whatever it is shown and believes in it
        fully; its own score can't tell. Followed faces stay within 0.08 and 0.71 to 0.95 here.
        """
        region = _around(face.landmarks)
        found = self._near.boxes(frame, region)
        away = np.hypot(*(found[:, 0] - 0.5).T)
        larger = found[:, 1].max(1) * ROI_SCALE
        return bool(((away < 0.12) & (larger > 0.62) & (larger < 1.15)).any())

    def mesh_crop(self, crop: np.ndarray) -> np.ndarray | None:
        """Landmarks of an already aligned face crop, without detection: for measuring outputs.

        Looks twice, as ``track`` does in effect; once is a millisecond less, but then the measured
        mouth opening strays from that of the tracked frame.

        Args:
            crop: (S, S, 3) uint8 RGB, cut by a ``CropSpec``.

        Returns:
            (468, 3) float32 in crop pixels, or None when the net sees no face.
        """
        side = crop.shape[0]
        region = _Region(CROP_ROI[0] * side - 0.5, CROP_ROI[1] * side - 0.5, CROP_ROI[2] * side, 0)
        face = self._refine(crop, region, twice=True)
        return None if face is None else face.landmarks

    def _face_at(self, frame: Image, box: np.ndarray, eyes: np.ndarray) -> Face | None:
        """The mesh of a face that another detector found.

        Args:
            frame: (H, W, 3) uint8 RGB or a picture.
            box: x0, y0, x1, y1 in frame pixels.
            eyes: (2, 2), the viewer's left one and right one.
        """
        across = eyes[1] - eyes[0]
        x, y = (box[:2] + box[2:]) / 2
        side = float((box[2:] - box[:2]).max()) * ROI_SCALE
        angle = float(np.arctan2(across[1], across[0]))
        return self._refine(frame, _Region(float(x), float(y), side, angle), twice=True)

    def _refine(self, frame: Image, region: _Region, twice: bool = False) -> Face | None:
        """The mesh inside a region; ``twice`` looks again at the region its own points ask for."""
        face = self._mesh_in(region.cut(frame), region)
        return self._refine(frame, _around(face.landmarks)) if face and twice else face

    def _mesh_in(self, picture: np.ndarray, region: _Region) -> Face | None:
        """The mesh in the picture of a region, in frame pixels."""
        outputs = self._mesh(picture.astype(np.float32) / 255)
        flat, flag = (outputs[0], outputs[1]) if outputs[0].size > 1 else (outputs[1], outputs[0])
        score = float(_sigmoid(flag.ravel())[0])
        if score < MIN_SCORE:
            return None
        points = flat.reshape(POINTS, 3).astype(np.float32)
        points[:, :2] = warp_points(points[:, :2] - 0.5, invert(region.transform(MESH_SIDE)))
        points[:, 2] *= region.side / MESH_SIDE
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        return Face(points, score, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


class _Net:
    """A .tflite file with one input, run on one picture at a time."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter  # slow to import

        self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, picture: np.ndarray) -> list[Any]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


class _Detector:
    """A single-shot face detector: 16 numbers and a score for each of its anchors.

    Args:
        path: the .tflite file.
        threads: for the net.
        side: its input's side in pixels.
        layers: (stride, anchors a cell) of each grid of anchors, in the order of its outputs.
    """

    def __init__(
        self, path: Path, threads: int, side: int, layers: tuple[tuple[int, int], ...]
    ) -> None:
        self._net, self._side = _Net(path, threads), side
        self._anchors = np.concatenate([_grid(side // stride, n) for stride, n in layers])

    def find(self, frame: Image, square: tuple[float, float, float]) -> list[_Region]:
        """Regions for the mesh net of the faces within a square (x0, y0, side) of the frame."""
        x0, y0, side = square
        region = _Region(x0 + side / 2 - 0.5, y0 + side / 2 - 0.5, side, 0.0)
        return [_turned(values, square) for values in self.boxes(frame, region)]

    def boxes(self, frame: Image, region: _Region) -> np.ndarray:
        """Faces within a region, (N, 8, 2) in parts of its side, from its upper left corner.

        Eight places each: centre, size, right eye, left eye, nose, mouth, right and left ear.
        """
        picture = warp(frame, region.transform(self._side), self._side, fill=0)
        raw, logits = self._net(picture.astype(np.float32) / 127.5 - 1)
        scores = _sigmoid(logits.ravel())
        keep = np.flatnonzero(scores > MIN_SCORE)
        if not len(keep):
            return np.zeros((0, 8, 2))
        values = raw[0][keep].reshape(-1, 8, 2) / self._side
        values[:, [0, 2, 3, 4, 5, 6, 7]] += self._anchors[keep][:, None]
        corners = np.hstack([values[:, 0] - values[:, 1] / 2, values[:, 1]]) * self._side
        kept = cv2.dnn.NMSBoxes(corners.tolist(), scores[keep].tolist(), MIN_SCORE, OVERLAP)
        return values[np.asarray(kept).ravel().astype(int)]


def _grid(cells: int, repeat: int) -> np.ndarray:
    """Anchor centres in the unit square, (cells * cells * repeat, 2), row by row."""
    line = (np.arange(cells) + 0.5) / cells
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], 1), repeat, axis=0)


def _turned(values: np.ndarray, square: tuple[float, float, float]) -> _Region:
    """A detection (centre, size, right eye, left eye, ...) as a region with level eyes."""
    x0, y0, side = square
    (x, y), size = values[0], values[1]
    across = values[3] - values[2]
    angle = float(np.arctan2(across[1], across[0]))
    return _Region(x0 + x * side, y0 + y * side, float(size.max()) * side * ROI_SCALE, angle)


def _around(points: np.ndarray) -> _Region:
    """The region of a face whose landmarks are known: the box around them, along its eyes."""
    across = points[LEFT_EYE, :2] - points[RIGHT_EYE, :2]
    angle = float(np.arctan2(across[1], across[0]))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    level = points[:, :2] @ turn.T
    low, high = level.min(0), level.max(0)
    x, y = turn.T @ ((low + high) / 2)
    return _Region(float(x), float(y), float((high - low).max()) * ROI_SCALE, angle)


def _searches(height: int, width: int) -> list[list[tuple[float, float, float]]]:
    """Groups of squares to search, in order: the whole frame, short-side squares, half of those."""
    long, short = max(height, width), min(height, width)
    whole = [((width - long) / 2, (height - long) / 2, float(long))]
    groups = [whole]
    for side in (short, short / 2):
        columns = np.linspace(
            0, width - side, max(1, int(np.ceil((width - side) / (side / 2))) + 1)
        )
        rows = np.linspace(0, height - side, max(1, int(np.ceil((height - side) / (side / 2))) + 1))
        squares = [(float(x), float(y), float(side)) for y in rows for x in columns]
        upper = [s for s in squares if s[1] + s[2] / 2 <= height / 2]
        groups += [upper, [s for s in squares if s not in upper]]
    return [group for group in groups if group]


def distinct(faces: list[Face | None]) -> list[Face]:
    """One of each face, the largest first."""
    kept: list[Face] = []
    found = [face for face in faces if face is not None]
    for face in sorted(found, key=lambda f: _area(f.box), reverse=True):
        if all(shared(face.box, other.box) < OVERLAP for other in kept):
            kept.append(face)
    return kept


def _area(box: tuple[float, float, float, float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Overlap of two boxes over the smaller one's area."""
    both = (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return _area(both) / max(1e-6, min(_area(a), _area(b)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))
