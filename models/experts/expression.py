"""Frozen expression features from the mesh's geometry: what lips and jaw do, whatever the pose.

The paper's lips encoder starts from a frozen expression encoder (Sec. 3.1.1, Fig. 4); its weights
are not public. Here the mesh takes its place: lips, chin and jaw in the frame of a rigid fit to
the upper face, minus a neutral mouth, in units in which speech moves them by about 1.
"""

from __future__ import annotations

import numpy as np

from core.media.shapes import to_face

NEUTRAL: tuple[tuple[int, int, float, float, float], ...] = (
    (61, 291, -0.1492, 0.4421, 0.0496),
    (146, 375, -0.1348, 0.4594, 0.0283),
    (91, 321, -0.1144, 0.4765, 0.0026),
    (181, 405, -0.0843, 0.4970, -0.0164),
    (84, 314, -0.0451, 0.5114, -0.0319),
    (17, 17, 0.0000, 0.5151, -0.0348),
    (78, 308, -0.1281, 0.4380, 0.0389),
    (95, 324, -0.1098, 0.4455, 0.0266),
    (88, 318, -0.0935, 0.4474, 0.0080),
    (178, 402, -0.0676, 0.4499, -0.0086),
    (87, 317, -0.0361, 0.4531, -0.0219),
    (14, 14, 0.0000, 0.4546, -0.0269),
    (185, 409, -0.1390, 0.4251, 0.0206),
    (40, 270, -0.1176, 0.4103, -0.0093),
    (39, 269, -0.0890, 0.3918, -0.0360),
    (37, 267, -0.0440, 0.3775, -0.0569),
    (0, 0, 0.0000, 0.3833, -0.0625),
    (191, 415, -0.1096, 0.4290, 0.0238),
    (80, 310, -0.0883, 0.4265, 0.0030),
    (81, 311, -0.0631, 0.4247, -0.0146),
    (82, 312, -0.0336, 0.4245, -0.0282),
    (13, 13, 0.0000, 0.4251, -0.0328),
    (152, 152, 0.0000, 0.7121, 0.0496),
    (176, 400, -0.1306, 0.6848, 0.0897),
    (150, 379, -0.2243, 0.6243, 0.1764),
    (172, 397, -0.3188, 0.5239, 0.2993),
    (199, 199, 0.0000, 0.6428, -0.0067),
    (18, 18, 0.0000, 0.5526, -0.0003),
)
"""(index, mirror image's index, x, y, z) of lips (40 points), chin and jaw in the mean face.

In face heights, in the frame of ``core.media.shapes.FACE``; measured over the same clips.
"""

UNIT = 0.02
"""Face heights that count as 1: the usual movement of a lip in speech."""


def _points() -> tuple[np.ndarray, np.ndarray]:
    """Indices (N,) and neutral places (N, 3), both sides."""
    places: dict[int, tuple[float, float, float]] = {}
    for index, mirror, x, y, z in NEUTRAL:
        places[mirror], places[index] = (-x, y, z), (x, y, z)
    return np.array(list(places)), np.array(list(places.values()), dtype=np.float32)


_INDEX, _PLACE = _points()

EXPRESSION_DIM = 3 * len(_INDEX)
"""E: three coordinates for each point."""


def expression(landmarks: np.ndarray) -> np.ndarray:
    """Pose-compensated geometry of lips and jaw.

    Args:
        landmarks: (..., 468, 3), frame or crop pixels.

    Returns:
        (..., E) float32, of order 1; the same for every position, size and rotation of the mesh.
    """
    moved = (to_face(landmarks)[..., _INDEX, :] - _PLACE) / UNIT
    return moved.reshape(*moved.shape[:-2], EXPRESSION_DIM).astype(np.float32)


def mirrored(vectors: np.ndarray) -> np.ndarray:
    """Expression features (..., E) of the face in a mirror: points change sides, x its sign."""
    place = {index: row for row, index in enumerate(_INDEX.tolist())}
    other = {**{i: m for i, m, *_ in NEUTRAL}, **{m: i for i, m, *_ in NEUTRAL}}
    order = [place[other[index]] for index in _INDEX.tolist()]
    points = vectors.reshape(*vectors.shape[:-1], len(_INDEX), 3)[..., order, :]
    turned = points * np.array([-1, 1, 1], vectors.dtype)
    return turned.reshape(vectors.shape)
