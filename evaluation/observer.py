"""Measures the landmarks of an output once a case and shares them among the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.contracts import Case
from core.media.shapes import opening
from core.weights import Store

MESH_POINTS = 468

MeshOfCrop = Callable[[np.ndarray], np.ndarray | None]
"""An aligned crop (S,S,3 uint8) -> mesh points (468,3) in its pixels, or None: no face seen."""


@dataclass(frozen=True)
class Observation:
    """What the mesh says of a stack of crops.

    Attributes:
        landmarks: (T,468,3) in crop pixels; NaN where no face was found.
        found: (T,) bool.
        opening: (T,) inner-lip opening over face height; NaN where no face was found.
    """

    landmarks: np.ndarray
    found: np.ndarray
    opening: np.ndarray


class Observer:
    """Landmarks of crops by one mesh net, remembered for the last case.

    The same object is given to every metric that needs landmarks, so that a case is measured once
    however many metrics look at it.

    Args:
        mesh: see ``MeshOfCrop``; ``Observer.from_store`` makes the usual one.
    """

    def __init__(self, mesh: MeshOfCrop) -> None:
        self._mesh = mesh
        self._case: Case | None = None
        self._seen: Observation | None = None

    @classmethod
    def from_store(cls, store: Store) -> Observer:
        """The observer that uses the 468-point mesh of the weights registry."""
        from models.experts.face import FaceMesh

        return cls(FaceMesh(store).mesh_crop)

    def crops(self, crops: np.ndarray) -> Observation:
        """Measures crops (T,S,S,3 uint8)."""
        landmarks = np.full((len(crops), MESH_POINTS, 3), np.nan, np.float32)
        found = np.zeros(len(crops), bool)
        for t, crop in enumerate(crops):
            points = self._mesh(crop)
            if points is not None:
                landmarks[t], found[t] = points, True
        gaps = np.full(len(crops), np.nan, np.float32)
        if found.any():
            gaps[found] = opening(landmarks[found])
        return Observation(landmarks, found, gaps)

    def output(self, case: Case) -> Observation:
        """Measures a case's output; the last case's answer is kept."""
        if self._case is not case or self._seen is None:
            self._case, self._seen = case, self.crops(case.output)
        return self._seen
