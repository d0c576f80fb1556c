"""Identity nets from ONNX files, for numbers to compare with others'. They need onnxruntime only.

MobileFaceNet is the project's own choice, the others are what papers report.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.media.crop import warp
from models.experts.identity import MEAN, SIZE, STD, Identity, align

EYES = ((33, 133), (263, 362))
"""Corners of the right and of the left eye in the mesh."""
FACENET_SIDE = 160


class FaceNet(ABC):
    """A face embedding in an ONNX file: one input, pictures; one output, (1, dim).

    Args:
        weights: the file. threads: threads it may use. The net opens at first use.
    """

    name, dim, side = "", 512, 0

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self.weights, self.threads = weights, threads
        self._net: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights, "threads": self.threads, "_net": None}

    def embed(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Embeds the face.

        Args:
            frame: (H, W, 3) uint8 RGB: a whole frame or a crop.
            landmarks: (468, 2 or 3) mesh points in its pixels.

        Returns:
            (dim,) float32 of length 1.

        Raises:
            InputError: the file is no such net.
        """
        if self._net is None:
            self._net = self._open()
        (given,) = self._net.get_inputs()
        picture = self._prepared(frame, landmarks)
        if given.shape[1] == 3:  # channels first, as torch has it; TensorFlow has them last
            picture = picture.transpose(2, 0, 1)
        vector = np.ravel(self._net.run(None, {given.name: picture[None]})[0])
        if len(vector) != self.dim:
            raise InputError(
                f"{self.weights} gives {len(vector)} numbers for a face rather than {self.dim}, "
                f"so it is no {self.name}; get another"
            )
        return (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)

    @abstractmethod
    def _prepared(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """The net's input (side, side, 3) float32."""

    def _open(self) -> Any:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        try:
            net = onnxruntime.InferenceSession(
                str(self.weights), options, providers=["CPUExecutionProvider"]
            )
        except (Fail, InvalidGraph, InvalidProtobuf) as error:
            raise InputError(f"{self.weights} is no ONNX file of {self.name}; get it") from error
        inputs = net.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        layouts = ([3, self.side, self.side], [self.side, self.side, 3])
        # Exporters leave a side open, or name it.
        fits = len(shape) == 4 and any(
            all(not isinstance(a, int) or a == b for a, b in zip(shape[1:], want, strict=True))
            for want in layouts
        )
        if not fits:
            raise InputError(
                f"{self.weights} takes {shape} rather than faces of {self.side} px, so it is no "
                f"{self.name}; get another"
            )
        return net


class MobileFaceNet(FaceNet):
    """The net of ``models.experts.identity.Identity``, from a file that is named."""

    name, dim, side = "mobilefacenet", Identity.dim, SIZE

    def _prepared(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        face = warp(frame, align(landmarks).astype(np.float32), SIZE, fill=0)
        return (face.astype(np.float32) / 255.0 - MEAN) / STD


class ArcFace512(FaceNet):
    """InsightFace's ArcFace (ResNet-50, WebFace600K): RGB, (x - 127.5) / 127.5, 112 px.

    The face is laid on ArcFace's five points, taken from the mesh.
    """

    name, side = "arcface_w600k_r50", SIZE

    def _prepared(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        face = warp(frame, align(landmarks).astype(np.float32), SIZE, fill=0)
        return (face.astype(np.float32) - 127.5) / np.float32(127.5)


class FaceNet512(FaceNet):
    """FaceNet-512 (InceptionResnetV1, VGGFace2) with its face prepared as DeepFace does it.

    Eyes level; the face's box in the middle of 160 px, black where the box is not; BGR in [0, 1].
    The mesh's box stands for the detector's, which reaches somewhat further up.
    """

    name, side = "facenet512", FACENET_SIDE

    def _prepared(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        turn, half = upright_box(landmarks, FACENET_SIDE)
        face = warp(frame, turn.astype(np.float32), FACENET_SIDE, fill=0)
        away = np.abs(np.arange(FACENET_SIDE) - (FACENET_SIDE - 1) / 2)
        face = face * (away <= half[1])[:, None, None] * (away <= half[0])[None, :, None]
        return np.ascontiguousarray(face[..., ::-1].astype(np.float32) / 255)


def upright_box(landmarks: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A face's box, eyes level, laid into the middle of a square.

    Args:
        landmarks: (468, 2 or 3) in frame pixels.
        side: of the square, as long as the box's longer side.

    Returns:
        The similarity (2, 3), frame -> square, and half the box's width and height in the square.
    """
    points = landmarks[:, :2].astype(np.float64)
    right, left = (points[list(eye)].mean(0) for eye in EYES)
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-9)
    turn = np.array([[across[0], across[1]], [-across[1], across[0]]])
    turned = points @ turn.T
    low, high = turned.min(0), turned.max(0)
    scale = side / max(float((high - low).max()), 1e-9)
    shift = (side - 1) / 2 - scale * (low + high) / 2
    return np.column_stack([scale * turn, shift]), scale * (high - low) / 2
