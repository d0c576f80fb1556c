"""Faces by InsightFace: SCRFD finds them, ArcFace knows them again; our own net lays the mesh.

InsightFace's library is MIT; its weights are for non-commercial research only. They are opened from
a weights folder, by registered hash, and never downloaded. Everything after the tracker works as
with the mesh's own detectors, since the landmarks are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.errors import InputError
from core.media.crop import warp
from core.media.video import Image
from core.weights import Store
from models.experts.face import Face, FaceMesh, distinct, shared
from models.experts.identity import SIZE, align

DETECTOR, RECOGNISER = "scrfd_10g", "arcface_w600k_r50"
SIDE = 640
"""Input side of the detector; a face of 1/20 of the frame's width still has 32 pixels."""
MIN_SCORE = 0.5
SAME = 0.3
"""Cosine from which two ArcFace embeddings are taken for one person."""
OVERLAP = 0.5
"""Part of the smaller box that detector and mesh must share to speak of one face."""


class InsightFaces(FaceMesh):
    """As ``FaceMesh``, with SCRFD for finding; after a gap it goes on with the same person only.

    Args:
        store: where the two ONNX files and the mesh net lie.
        threads: for the mesh net.
        gpu: whether the detectors may use one.

    Raises:
        InputError: InsightFace or a file is missing; one sentence says which and what to do.
    """

    def __init__(self, store: Store, threads: int = 1, gpu: bool = False) -> None:
        self._gpu = gpu
        super().__init__(store, threads)
        self._known: np.ndarray | None = None

    def _open_detectors(self, store: Store, threads: int) -> None:
        self._finder = open_model(store, DETECTOR, self._gpu)
        self._who = ArcFace(store, threads, self._gpu)

    def reset(self) -> None:
        """Forgets the tracked face and whose it was; call it at the start of every clip."""
        super().reset()
        self._known = None

    def detect(self, frame: Image) -> list[Face]:
        """All faces of a frame (H, W, 3) uint8 RGB that SCRFD and mesh agree on, largest first."""
        boxes, points = self._find(frame)
        return distinct(
            [self._face_at(frame, b, p[:2]) for b, p in zip(boxes, points, strict=True)]
        )

    def _find(self, frame: Image) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) and five points (N, 5, 2) in frame pixels."""
        found, points = self._finder.detect(np.ascontiguousarray(np.asarray(frame)[..., ::-1]))
        sure = found[:, 4] > MIN_SCORE
        return found[sure, :4], points[sure]

    def _confirmed(self, frame: Image, face: Face) -> bool:
        boxes, _ = self._find(frame)
        return any(shared(tuple(box.tolist()), face.box) > OVERLAP for box in boxes)

    def _pick(self, frame: Image, faces: list[Face]) -> Face | None:
        """At a clip's start the largest face; later the one that is most like it, or none."""
        if not faces:
            return None
        found = [self._who.embed(frame, face.landmarks) for face in faces]
        if self._known is None:
            self._known = found[0]
            return faces[0]
        alike = [float(vector @ self._known) for vector in found]
        best = int(np.argmax(alike))
        return faces[best] if alike[best] >= SAME else None


class ArcFace:
    """ArcFace (ResNet-50, WebFace600K), when InsightFace and its file are there.

    Args:
        store: weights. threads: not used; InsightFace sets its own. gpu: whether it may use one.
    """

    name = RECOGNISER
    dim = 512

    def __init__(self, store: Store, threads: int = 1, gpu: bool = False) -> None:
        self.store, self.threads, self.gpu = store, threads, gpu
        self._net: Any = None

    @property
    def available(self) -> bool:
        """Whether the weights are there."""
        return self.store.has(self.name)

    def embed(self, frame: Image, landmarks: np.ndarray) -> np.ndarray:
        """Embeds the face.

        Args:
            frame: (H, W, 3) uint8 RGB: a whole frame or a crop.
            landmarks: (468, 2 or 3) mesh points in its pixels.

        Returns:
            (512,) float32 of length 1.

        Raises:
            InputError: InsightFace or the file is missing.
        """
        if self._net is None:
            self._net = open_model(self.store, self.name, self.gpu)
        face = warp(frame, align(landmarks).astype(np.float32), SIZE, fill=0)
        vector = np.asarray(self._net.get_feat(np.ascontiguousarray(face[..., ::-1]))).ravel()
        return (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)


def open_model(store: Store, name: str, gpu: bool = False) -> Any:
    """A model of InsightFace's zoo, from its local file.

    Raises:
        InputError: InsightFace is not installed, or the file is missing or another one.
    """
    path = store.locate(name)
    try:
        from insightface.model_zoo import get_model
    except ImportError as error:
        raise InputError(
            "faces=insightface needs InsightFace: run 'pip install --no-deps insightface onnx' "
            "(with its dependencies it brings a second OpenCV), or set faces=mesh"
        ) from error
    providers = ["CPUExecutionProvider"]
    model = get_model(str(path), providers=["CUDAExecutionProvider", *providers][not gpu :])
    if name == DETECTOR:
        model.prepare(0 if gpu else -1, input_size=(SIDE, SIDE), det_thresh=MIN_SCORE)
    return model
