"""A face's parts as a map of class ids: the classes, and drawing them from landmarks.

The classes are CelebAMask-HQ's 19, in the order of its annotation; left and right are the viewer's
in maps that are drawn here, and the net's own in maps that a net gives.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.media.shapes import INNER_LIPS, OUTER_LIPS

CLASSES = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""Names by id: eye_g are glasses, mouth is what lies between the lips, ear_r is an ear-ring,
neck_l a necklace."""

LIPS = tuple(CLASSES.index(name) for name in ("mouth", "u_lip", "l_lip"))
"""Ids that make M_lips: lips and what lies between them, as ``core.media.shapes.lips_mask``."""

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (362, 382, 381, 380, 374, 373, 390, 249, 263, 466, 388, 387, 386, 385, 384, 398),
)
BROWS = (
    (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    (336, 296, 334, 293, 300, 276, 283, 282, 295, 285),
)
HALF = len(OUTER_LIPS) // 2
LOWER_LIP = (*OUTER_LIPS[: HALF + 1], *INNER_LIPS[HALF::-1])
UPPER_LIP = (*OUTER_LIPS[HALF:], OUTER_LIPS[0], INNER_LIPS[0], *INNER_LIPS[: HALF - 1 : -1])

PARTS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("skin", OVAL),
    ("l_brow", BROWS[0]),
    ("r_brow", BROWS[1]),
    ("l_eye", EYES[0]),
    ("r_eye", EYES[1]),
    ("mouth", INNER_LIPS),
    ("u_lip", UPPER_LIP),
    ("l_lip", LOWER_LIP),
)
"""Outlines of what the mesh knows, later ones over earlier ones."""


def polygon_parsing(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Class ids (size, size) uint8 from landmarks alone: skin, brows, eyes, lips, mouth.

    Nose, ears, hair and neck have no outline in the mesh: nose is skin, the others background.

    Args:
        landmarks: (468, 2 or 3) in crop pixels.
        size: of the crop.
    """
    canvas = np.zeros((size, size), np.uint8)
    places = np.clip(np.asarray(landmarks)[:, :2], -4 * size, 5 * size)
    for name, outline in PARTS:
        corners = np.round(places[list(outline)] * 16).astype(np.int32)
        cv2.fillPoly(canvas, [corners], CLASSES.index(name), shift=4)
    return canvas
