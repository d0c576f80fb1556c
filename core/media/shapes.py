"""What landmarks say: masks, mouth box, mouth opening, head pose. Pure geometry of the 468 mesh.

All of it rests on a rigid fit of a mean face to points that jaw and lips don't move, so that no
measure of the face, and no mask, tells how far the mouth is open, unless it is meant to.
"""

from __future__ import annotations

import cv2
import numpy as np

from core.media.crop import smooth

FACE: tuple[tuple[int, int, float, float, float], ...] = (
    (10, 10, 0.0000, -0.2879, 0.0496),
    (151, 151, 0.0000, -0.1947, 0.0209),
    (9, 9, 0.0000, -0.0942, -0.0036),
    (8, 8, 0.0000, -0.0425, 0.0001),
    (168, 168, 0.0000, 0.0000, 0.0000),
    (6, 6, 0.0000, 0.0431, -0.0290),
    (197, 197, 0.0000, 0.0827, -0.0612),
    (195, 195, 0.0000, 0.1196, -0.0967),
    (33, 263, -0.2628, 0.0367, 0.1259),
    (133, 362, -0.1030, 0.0418, 0.0949),
    (109, 338, -0.1095, -0.2835, 0.0586),
    (67, 297, -0.2022, -0.2640, 0.0943),
    (103, 332, -0.2879, -0.2227, 0.1557),
    (54, 284, -0.3441, -0.1631, 0.2265),
    (21, 251, -0.3787, -0.0894, 0.2923),
    (162, 389, -0.3973, -0.0119, 0.3613),
    (127, 356, -0.4037, 0.0829, 0.4129),
)
"""Stable points of the mean face: (index, its mirror image's index, x, y, z), face heights.

x to the image's right, y down, z away from the viewer, 0 at the nasion; forehead (10) to chin (152)
is 1. Measured: 13 clips, aligned in 3-D, averaged, mirrored.
"""

CHEEKS: tuple[tuple[float, float, float], ...] = (
    (0.3995, 0.1703, 0.4327),
    (0.3941, 0.2580, 0.4280),
    (0.3814, 0.3515, 0.4052),
    (0.3552, 0.4485, 0.3629),
    (0.3188, 0.5239, 0.2993),
    (0.2770, 0.5771, 0.2312),
    (0.2243, 0.6243, 0.1764),
    (0.1306, 0.6848, 0.0897),
    (0.0000, 0.7121, 0.0496),
)
"""The mean face's outline from the ear down to the chin, mouth closed, its left half."""

TOP: tuple[tuple[float, float, float], ...] = ((0.2819, 0.2250, 0.0752), (0.0, 0.2700, -0.0600))
"""The mask's upper edge between the ears: over the cheeks, through the tip of the nose."""

STEADY = 3.0
"""Smoothing of masks over time: sigma in frames."""

OUTLINE = 0.04
"""Width of the mask's rim that is not pasted, in sides of the crop."""

JAW_DROP = 0.15
"""How far the chin of a wide-open mouth lies below that of a closed one, face heights."""

OUTER_LIPS = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375),
    *(291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
)
INNER_LIPS = (
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324),
    *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
INNER_PAIRS = ((13, 14), (82, 87), (312, 317))  # upper, lower; the middle of the mouth


def _stable() -> tuple[np.ndarray, np.ndarray]:
    """Indices (N,) and places (N, 3) of the stable points, both sides."""
    places: dict[int, tuple[float, float, float]] = {}
    for index, mirror, x, y, z in FACE:
        places[index], places[mirror] = (x, y, z), (-x, y, z)
    return np.array(list(places)), np.array(list(places.values()))


STABLE_INDEX, STABLE_PLACE = _stable()


def face_fit(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The similarity that carries the mean face onto each mesh, by least squares (Umeyama).

    Args:
        landmarks: (..., 468, 3).

    Returns:
        scale (...), which is the face's height in the landmarks' unit; rotation (..., 3, 3); and
        translation (..., 3), the nasion's place: ``mesh = scale * rotation @ face + translation``.
    """
    points = np.asarray(landmarks, dtype=np.float64)[..., STABLE_INDEX, :]
    middle, mean = STABLE_PLACE.mean(0), points.mean(-2)
    source = STABLE_PLACE - middle
    cross = np.swapaxes(points - mean[..., None, :], -1, -2) @ source
    left, values, right = np.linalg.svd(cross)
    sign = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    flip = np.stack([np.ones_like(sign), np.ones_like(sign), sign], -1)
    rotation = (left * flip[..., None, :]) @ right
    scale = (values * flip).sum(-1) / np.sum(source**2)
    translation = mean - scale[..., None] * (rotation @ middle)
    return scale, rotation, translation


def to_face(landmarks: np.ndarray) -> np.ndarray:
    """Meshes (..., 468, 3) in the mean face's frame: pose and size taken out, in face heights."""
    scale, rotation, translation = face_fit(landmarks)
    moved = np.asarray(landmarks, dtype=np.float64) - translation[..., None, :]
    return (moved @ rotation / scale[..., None, None]).astype(np.float32)


def head_pose(landmarks: np.ndarray) -> np.ndarray:
    """Yaw, pitch, roll in degrees, (..., 3) float32, of meshes (..., 468, 3).

    Yaw is positive towards the image's right, pitch upwards, roll clockwise.
    """
    turn = face_fit(landmarks)[1]
    yaw = np.arcsin(np.clip(turn[..., 2, 0], -1, 1))
    pitch = -np.arctan2(turn[..., 2, 1], turn[..., 2, 2])
    roll = np.arctan2(turn[..., 1, 0], turn[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], -1)).astype(np.float32)


def opening(landmarks: np.ndarray) -> np.ndarray:
    """Mouth opening: the gap between the inner lips over the face's height, (...) float32.

    Mean of three pairs in the mouth's middle, along the face's own vertical in the image; the
    height comes from stable points, so that the jaw doesn't change it. 0 is closed, speech reaches
    about 0.12.

    Args:
        landmarks: (..., 468, 3), any unit.
    """
    scale, rotation, _ = face_fit(landmarks)
    down = rotation[..., :2, 1] / np.linalg.norm(rotation[..., :2, 1], axis=-1, keepdims=True)
    upper, lower = np.array(INNER_PAIRS).T
    places = np.asarray(landmarks, dtype=np.float64)[..., :2]
    gap = (places[..., lower, :] - places[..., upper, :]).mean(-2)
    return np.maximum((gap * down).sum(-1) / scale, 0).astype(np.float32)


def lower_face_mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The lower-face mask M of a crop, (size, size) bool: True where the editor may paint.

    It is the mean face's lower part with the jaw dropped as far as jaws go, posed and scaled by
    stable points and widened to the person's own cheeks. It never follows the mouth.

    Args:
        landmarks: (468, 3) in crop pixels.
        size: of the crop.
    """
    scale, rotation, translation = face_fit(landmarks)
    half = np.array(CHEEKS)
    fall = np.clip((half[:, 1] - 0.35) / (half[-1, 1] - 0.35), 0, 1)
    half[:, 1] += JAW_DROP * fall
    half[:, 0] *= _breadth(landmarks)
    right = np.concatenate([np.array(TOP)[::-1], half])
    outline = np.concatenate([right, right[-2:0:-1] * [-1, 1, 1]])
    return _filled((scale * outline @ rotation.T + translation)[:, :2], size, border=2)


def lower_face_masks(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The lower-face masks of frames in a row, (T, size, size) bool, from meshes (T, 468, 3).

    The head's fit jitters with speech by half a percent; smoothed over time it tells nothing.
    """
    curves = np.asarray(landmarks, dtype=np.float64).reshape(len(landmarks), -1)
    steady = smooth(curves, STEADY).reshape(np.shape(landmarks))
    return np.stack([lower_face_mask(points, size) for points in steady])


FIXED_MASK = (0.035, 0.371, 0.965, 0.945)
"""Left, top, right and bottom of the fixed mask in the unit crop (LatentSync's mask image)."""


def fixed_mask(size: int) -> np.ndarray:
    """A lower-face mask that follows no face, (size, size) bool: half an ellipse under a flat top.

    It has the bounds of LatentSync's mask image and covers 42 % of the crop (that one: 41 %).
    """
    x0, y0, x1, y1 = FIXED_MASK
    angle = np.linspace(0, np.pi, 181)
    across = (x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(angle)
    outline = np.stack([across, y0 + (y1 - y0) * np.sin(angle)], -1) * size - 0.5
    return _filled(outline, size, border=0)


def _breadth(landmarks: np.ndarray) -> float:
    """The person's breadth at the ears over the mean face's; the jaw does not move these points."""
    mesh = to_face(landmarks)
    width = mesh[[356, 454, 323], 0].mean() - mesh[[127, 234, 93], 0].mean()
    return float(np.clip(width / 2 / 0.3991, 0.85, 1.2))


def lips_mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The lips mask M_lips, (size, size) bool: lips and what lies between them.

    Args:
        landmarks: (468, 3) in crop pixels.
        size: of the crop.
    """
    return _filled(np.asarray(landmarks)[list(OUTER_LIPS), :2], size, border=0)


def mouth_box(landmarks: np.ndarray, size: int, margin: float = 0.25) -> tuple[int, int, int, int]:
    """Box x0, y0, x1, y1 (end exclusive, inside the crop) around the lips.

    Args:
        landmarks: (468, 3) in crop pixels.
        size: of the crop.
        margin: on every side, as a part of the mouth's width.
    """
    lips = np.asarray(landmarks)[list(OUTER_LIPS), :2]
    low, high = lips.min(0), lips.max(0)
    room = margin * (high[0] - low[0])
    x0, y0 = np.clip(np.floor(low - room), 0, size - 2).astype(int)
    x1, y1 = np.clip(np.ceil(high + room) + 1, (x0 + 2, y0 + 2), size).astype(int)
    return int(x0), int(y0), int(x1), int(y1)


def paste_alpha(shape: np.ndarray, size: int, feather: float = 0.06) -> np.ndarray:
    """How much of the crop goes into the frame, (size, size) float32 in [0, 1].

    1 deep inside the lower-face mask, falling smoothly to 0 short of its edge: there lies the
    face's outline, and an edit that puts it a pixel elsewhere leaves a streak of background. 0
    outside of it and at the crop's border.

    Args:
        shape: the mask (size, size) bool, or landmarks (468, 3) in crop pixels.
        size: of the crop.
        feather: width of the slope, as a part of the size.
    """
    mask = shape if shape.shape == (size, size) else lower_face_mask(shape, size)
    inside = np.pad(mask[1:-1, 1:-1].astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - 1
    slope = np.clip((depth - OUTLINE * size) / (feather * size), 0, 1)
    return (slope * slope * (3 - 2 * slope)).astype(np.float32)


def _filled(outline: np.ndarray, size: int, border: int) -> np.ndarray:
    """A polygon's inside as (size, size) bool, to 1/16 pixel; a ``border`` stays empty."""
    canvas = np.zeros((size, size), np.uint8)
    corners = np.round(np.clip(outline, -4 * size, 5 * size) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [corners], 1, shift=4)
    if border:
        canvas[:border], canvas[-border:], canvas[:, :border], canvas[:, -border:] = 0, 0, 0, 0
    return canvas.astype(bool)
