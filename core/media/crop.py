"""The canonical face crop: where it lies in a frame, cutting it out, pasting it back.

Transforms are affine maps (2, 3) from frame pixels to crop pixels; integer coordinates are pixel
centres, so a crop's left edge is at -0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from core.errors import InputError
from core.recipe import later

Anchor = tuple[int | tuple[int, ...], float, float]
"""A mesh point, or the mean of several, and its place x, y in the unit crop."""

STABLE: tuple[tuple[int, float, float], ...] = (
    (33, 0.2635, 0.2350),
    (133, 0.4073, 0.2396),
    (362, 0.5927, 0.2396),
    (263, 0.7365, 0.2350),
    (9, 0.5000, 0.1172),
    (8, 0.5000, 0.1637),
    (168, 0.5000, 0.2020),
    (6, 0.5000, 0.2408),
    (197, 0.5000, 0.2764),
    (195, 0.5000, 0.3096),
)
"""Mesh points that jaw and lips don't move, with their places in the unit crop: (index, x, y).

Measured: the mean face of 13 clips, mirrored onto itself. Eyes level at 0.24 of the height,
closed lips at 0.59, a closed chin at 0.83, the chin of a wide-open mouth at 0.96.
"""


@dataclass(frozen=True)
class CropSpec:
    """How faces are cut out: one value names the geometry everywhere (shards, cards, predictors).

    Attributes:
        name: of the template.
        size: side of the crop in pixels.
        smoothing: sigma of the Gaussian over time on the transform, in frames; 0 is none.
        points: (mesh index or indices, x, y) in the unit square that the face is fitted to.
        aspect: width over height of the canvas that the face is fitted to without distortion; it is
            then stretched to the square. 1 leaves shapes as they are.
        fill: grey value outside the frame; None repeats the frame's edge.
        mask: what the lower-face mask follows: the face's landmarks, or nothing (one fixed shape).
    """

    name: str = "flashlips"
    size: int = 128
    smoothing: float = 1.5
    points: tuple[Anchor, ...] = STABLE
    aspect: float = later(1.0)
    fill: int | None = later(None)
    mask: Literal["landmarks", "fixed"] = later("landmarks")

    @property
    def id(self) -> str:
        """``name@size``, as written to shards and checkpoint cards."""
        return f"{self.name}@{self.size}"

    def fit(self, landmarks_TN3: np.ndarray, found_T: np.ndarray) -> np.ndarray:
        """Similarity transforms of a clip's frames, from the stable points only.

        Where no face was found the transform is interpolated between its neighbours (held at the
        ends); then everything is smoothed over time.

        Args:
            landmarks_TN3: (T, 468, 2 or 3) in frame pixels; rows without a face may hold anything.
            found_T: (T,) bool.

        Returns:
            (T, 2, 3) float32, frame pixels -> crop pixels.

        Raises:
            InputError: no frame has a face.
        """
        found = np.asarray(found_T, dtype=bool)
        if not found.any():
            raise InputError("no face was found in any frame; give a clip that shows a face")
        canvas = self.size * np.array([self.aspect, 1.0])
        template = np.array([point[1:] for point in self.points]) * canvas - 0.5
        places = _anchored(np.asarray(landmarks_TN3)[found], self.points)
        middle = (canvas - 1) / 2
        known = _parameters(_similarity(template, places), middle)
        frames = np.arange(len(found))
        curves = np.stack([np.interp(frames, frames[found], column) for column in known.T], 1)
        curves = smooth(curves, self.smoothing)
        fitted = np.stack([invert(_matrix(row, middle)) for row in curves])
        return _stretched(fitted, self.aspect).astype(np.float32)


FLASHLIPS_128 = CropSpec()

LATENTSYNC_256 = CropSpec(
    name="latentsync",
    size=256,
    points=(
        ((70, 63, 105, 66, 107, 46, 53, 52, 65, 55), 17 / 75, 0.2),
        ((300, 293, 334, 296, 336, 276, 283, 282, 295, 285), 58 / 75, 0.2),
        ((195, 4, 198, 420), 0.5, 0.4),
    ),
    aspect=0.75,
    fill=127,
    mask="fixed",
)
"""LatentSync's template: both brows and the nose on a 75 x 100 canvas, stretched to a square.

Its own landmarks come from a net with 106 points; the mesh's brows, bridge, tip and sides of the
nose stand in for them. The transform is smoothed as ours is, within a clip; nothing is carried from
one clip to the next.
"""


def _anchored(meshes: np.ndarray, points: tuple[Anchor, ...]) -> np.ndarray:
    """Where the template's points lie in meshes (T, 468, 2 or 3): (T, N, 2) float64."""
    groups = [[index] if isinstance(index, int) else list(index) for index, _, _ in points]
    return np.stack([meshes[:, g, :2].astype(np.float64).mean(1) for g in groups], 1)


def _stretched(transforms: np.ndarray, aspect: float) -> np.ndarray:
    """Transforms (T, 2, 3) to a canvas, made to end in the square it is stretched to."""
    out = transforms.copy()
    if aspect != 1:
        out[:, 0] /= aspect
        out[:, 0, 2] += 0.5 / aspect - 0.5  # pixel centres
    return out


def invert(transform: np.ndarray) -> np.ndarray:
    """The inverse of an affine map (2, 3)."""
    turn = np.linalg.inv(np.asarray(transform[:, :2], dtype=np.float64))
    return np.hstack([turn, -turn @ transform[:, 2:]]).astype(np.asarray(transform).dtype)


def warp_points(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (..., 2 or 3) mapped by an affine map; z is scaled along: meshes keep their shape."""
    out = np.array(points, dtype=np.float32)
    out[..., :2] = points[..., :2] @ transform[:, :2].T + transform[:, 2]
    if out.shape[-1] == 3:
        out[..., 2] *= _scale(transform)
    return out


def warp(frame: Any, transform: np.ndarray, size: int, fill: int | None = None) -> np.ndarray:
    """Cuts the crop out of a frame, antialiased when it shrinks.

    Args:
        frame: (H, W, 3) or (H, W), any type that OpenCV resizes; or a ``core.media.picture``.
        transform: (2, 3), frame pixels -> crop pixels.
        size: side of the crop.
        fill: value outside the frame; None repeats the frame's edge.
    """
    return resample(frame, transform, (size, size), cv2.INTER_LINEAR, fill)


def paste(frame: Any, crop: np.ndarray, transform: np.ndarray, alpha_crop: np.ndarray) -> Any:
    """A copy of the frame with the crop blended back in.

    Args:
        frame: (H, W, 3) uint8, or a ``core.media.picture``.
        crop: (S, S, 3), any real type, 0 to 255.
        transform: (2, 3), frame pixels -> crop pixels, as the crop was cut out.
        alpha_crop: (S, S) float32 in [0, 1]; 0 at the crop's border. Where its image in the frame
            is 0 the frame's bytes stay as they are.
    """
    back = invert(np.asarray(transform, dtype=np.float64))
    if not isinstance(frame, np.ndarray):
        return frame.pasted(crop, back, alpha_crop)
    out = frame.copy()
    box = cover(back, crop.shape[:2], frame.shape[:2], margin=1)
    if box is None:
        return out
    x0, y0, x1, y1 = box
    local = back.copy()
    local[:, 2] -= (x0, y0)
    extent = (x1 - x0, y1 - y0)
    alpha = resample(alpha_crop.astype(np.float32), local, extent, cv2.INTER_LINEAR, 0)
    patch = resample(crop.astype(np.float32), local, extent, cv2.INTER_CUBIC, None)
    alpha = np.clip(alpha, 0, 1)[..., None]
    roi = out[y0:y1, x0:x1]
    mixed = roi + alpha * (patch - roi)
    np.copyto(roi, np.clip(np.rint(mixed), 0, 255).astype(frame.dtype), where=alpha > 0)
    return out


def resample(
    image: Any,
    transform: np.ndarray,
    extent: tuple[int, int],
    interpolation: int,
    fill: int | None,
) -> np.ndarray:
    """``warpAffine`` on the needed part of the image, shrunk by area first if it must be."""
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    shrink = 1 / _scale(transform)
    matrix = np.array(transform, dtype=np.float64)
    margin = int(2 * shrink) + 2
    box = cover(invert(matrix), (extent[1], extent[0]), image.shape[:2], margin)
    if box is not None and shrink > 1.5:
        image, matrix = _shrunk(image, matrix, box, shrink)
    elif box is not None and not isinstance(image, np.ndarray):
        x0, y0, x1, y1 = box  # a picture, converted where it is looked at
        image = image[y0:y1, x0:x1]
        matrix[:, 2] += matrix[:, :2] @ (x0, y0)
    image = np.asarray(image)
    return cv2.warpAffine(
        image, matrix, extent, flags=interpolation, borderMode=border, borderValue=(fill or 0,) * 3
    )


def _shrunk(
    image: np.ndarray, transform: np.ndarray, box: tuple[int, int, int, int], shrink: float
) -> tuple[np.ndarray, np.ndarray]:
    """The image's part in ``box`` averaged down by about ``shrink``, and the transform to fit it.

    From 2 on by the whole number below: several times faster, and what is left is less than 1.5.
    """
    x0, y0, x1, y1 = box
    whole = int(shrink)
    if whole >= 2 and min(x1 - x0, y1 - y0) >= whole:
        x1, y1 = x1 - (x1 - x0) % whole, y1 - (y1 - y0) % whole
        shrink = whole
    width, height = max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink))
    small = cv2.resize(image[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_AREA)
    step = np.array([(x1 - x0) / width, (y1 - y0) / height])
    start = np.array([x0, y0]) + (step - 1) / 2
    matrix = transform.copy()
    matrix[:, 2] += transform[:, :2] @ start
    matrix[:, :2] = transform[:, :2] * step
    return small, matrix


def cover(
    back: np.ndarray, crop_hw: tuple[int, ...], frame_hw: tuple[int, ...], margin: int
) -> tuple[int, int, int, int] | None:
    """Box (x0, y0, x1, y1) of the frame's pixels under a crop, or None when they don't meet."""
    right, bottom = crop_hw[1] - 0.5, crop_hw[0] - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    places = corners @ back[:, :2].T + back[:, 2]
    limit = (frame_hw[1], frame_hw[0])
    low = np.clip(np.floor(places.min(0)).astype(int) - margin, 0, limit)
    high = np.clip(np.ceil(places.max(0)).astype(int) + 1 + margin, 0, limit)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _scale(transform: np.ndarray) -> float:
    return float(np.sqrt(abs(np.linalg.det(np.asarray(transform[:, :2], dtype=np.float64)))))


def _similarity(source: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Least-squares similarities source (N, 2) -> each of targets (T, N, 2), as (T, 2, 3).

    In the plane this is linear: with points as complex numbers, target = a * source + b.
    """
    z = source @ np.array([1, 1j])
    w = targets @ np.array([1, 1j])
    z0, w0 = z.mean(), w.mean(1)
    a = (w - w0[:, None]) @ (z - z0).conj() / np.sum(np.abs(z - z0) ** 2)
    b = w0 - a * z0
    return np.stack(
        [np.stack([a.real, -a.imag, b.real], 1), np.stack([a.imag, a.real, b.imag], 1)], 1
    )


def _parameters(matrices: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """(T, 4): log scale, unwrapped angle, and where the crop's middle lies; smooth quantities."""
    a = matrices[:, 0, 0] + 1j * matrices[:, 1, 0]
    place = matrices[:, :, :2] @ middle + matrices[:, :, 2]
    return np.column_stack([np.log(np.abs(a)), np.unwrap(np.angle(a)), place])


def _matrix(parameters: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The inverse of ``_parameters`` for one frame: (2, 3), crop pixels -> frame pixels."""
    log_scale, angle, x, y = parameters
    cos, sin = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([turn, np.array([x, y]) - turn @ middle])


def smooth(curves: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian over time (T, D); at the ends the kernel is cut off and normalised again."""
    if sigma <= 0 or len(curves) < 2:
        return curves
    reach = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weight = np.convolve(np.ones(len(curves)), kernel)[reach:-reach]
    columns = [np.convolve(column, kernel)[reach:-reach] / weight for column in curves.T]
    return np.stack(columns, 1)
