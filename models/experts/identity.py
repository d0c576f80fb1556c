"""Who is in a picture, as a unit vector: cosine near 1 for one person, near 0 for two."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.media.crop import warp
from core.media.video import Image
from core.weights import Store

SIZE = 112
# Where ArcFace-style nets expect eyes, nose tip and mouth corners in their 112 x 112 input.
TEMPLATE = np.array(
    [[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float64
)
# The same five points in the 468-point mesh; eyes are the middle of their two corners.
POINTS = ((33, 133), (263, 362), (4,), (61,), (291,))
# The net was trained on RGB normalised with ImageNet's statistics.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def align(landmarks: np.ndarray) -> np.ndarray:
    """The similarity (2, 3), frame -> 112 x 112, that best lays the five points on the template.

    Args:
        landmarks: (468, 2 or 3) in frame pixels.
    """
    points = np.stack([landmarks[list(rows), :2].mean(0) for rows in POINTS]).astype(np.float64)
    source, target = points @ [1, 1j], TEMPLATE @ [1, 1j]
    centred = source - source.mean()
    turn = np.vdot(centred, target - target.mean()) / max(np.vdot(centred, centred).real, 1e-9)
    shift = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


class Identity:
    """MobileFaceNet, when its file is in a weights folder.

    Args:
        store: weights. threads: threads it may use. The net opens at first use.
    """

    name = "mobilefacenet"
    dim = 128

    def __init__(self, store: Store, threads: int = 1) -> None:
        self.store = store
        self.threads = threads
        self._net: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "threads": self.threads, "_net": None}

    @property
    def available(self) -> bool:
        """Whether the weights are there."""
        return self.store.has(self.name)

    def embed(self, frame: Image, landmarks: np.ndarray) -> np.ndarray:
        """Embeds the face.

        Args:
            frame: (H, W, 3) uint8 RGB or a picture: a whole frame or a crop.
            landmarks: (468, 2 or 3) mesh points in its pixels.

        Returns:
            (128,) float32 of length 1.

        Raises:
            InputError: the weights are missing.
        """
        if self._net is None:
            self._net = self._open()
        face = warp(frame, align(landmarks).astype(np.float32), SIZE, fill=0)
        given = (face.astype(np.float32) / 255.0 - MEAN) / STD
        (vector,) = self._net.run(None, {"input0": given.transpose(2, 0, 1)[None]})
        return (vector[0] / max(float(np.linalg.norm(vector[0])), 1e-9)).astype(np.float32)

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            str(self.store.locate(self.name)), options, providers=["CPUExecutionProvider"]
        )
