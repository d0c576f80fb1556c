"""Casting: only persons whose mouth a real mesh net reads right get into the corpus.

The 468-point net reads lips with a gain that depends on the face and on how high the chin is held.
Each drawn person is tried with a few shapes of speech at a few carriages of the head; the carriage
that reads best is kept, and a person that reads badly at all of them is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.media.shapes import opening
from models.experts.face import FaceMesh
from preprocessing.datasets.synthetic.motion import Rig, probes

Draw = Callable[[np.ndarray, float], np.ndarray]

_CARRIAGES = (0.08, 0.15, 0.0, 0.22, -0.08)  # chin up, radians; the likeliest first
_GOOD_SLOPE = 0.12  # near enough to 1 to stop looking
_WORST_SLOPE = 0.18
_LEAST_R = 0.975


@dataclass(frozen=True)
class Reading:
    """How a net reads a person at one carriage: slope and correlation against true openings."""

    carriage: float
    slope: float
    r: float

    @property
    def cost(self) -> float:
        """Less is better."""
        return abs(self.slope - 1) + 4 * max(0.0, _LEAST_R - self.r)

    @property
    def believable(self) -> bool:
        """Whether the person may play."""
        return abs(self.slope - 1) <= _WORST_SLOPE and self.r >= _LEAST_R


def read_person(rig: Rig, draw: Draw, net: FaceMesh) -> Reading:
    """Tries the carriages and gives the best reading.

    Args:
        rig: of the person.
        draw: (posed vertices, true opening) -> (S,S,3) uint8 RGB.
        net: reads the pictures.
    """
    faces = [rig.face(units) for units in probes()]
    truth = np.array([rig.opening(face) for face in faces])
    best = Reading(_CARRIAGES[0], 0.0, 0.0)
    for carriage in _CARRIAGES:
        read = _read(rig, faces, truth, carriage, draw, net)
        if read.cost < best.cost:
            best = read
        if best.believable and abs(best.slope - 1) <= _GOOD_SLOPE:
            break
    return best


def _read(
    rig: Rig,
    faces: list[np.ndarray],
    truth: np.ndarray,
    carriage: float,
    draw: Draw,
    net: FaceMesh,
) -> Reading:
    net.reset()
    seen = []
    for face, true in zip(faces, truth, strict=True):
        posed = rig.pose(face, np.array([0.0, carriage, 0.0]), np.zeros(3))
        found = net.track(draw(posed, float(true)))
        if found is None:
            return Reading(carriage, 0.0, 0.0)
        seen.append(float(opening(found.landmarks)))
    if np.ptp(seen) == 0:
        return Reading(carriage, 0.0, 0.0)
    slope = float(np.polyfit(truth, seen, 1)[0])
    return Reading(carriage, slope, float(np.corrcoef(truth, seen)[0, 1]))
