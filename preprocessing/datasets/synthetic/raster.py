"""A small triangle rasteriser in numpy: which triangle each pixel shows, and where in it.

Deterministic: candidates are listed in triangle order and the nearest wins, the later of equals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hits:
    """Pixels covered by a mesh.

    Attributes:
        pixel: (P,) flat index into the picture (row * width + column).
        triangle: (P,) index of the triangle seen there.
        weights: (P,3) float32 barycentric weights of its corners.
    """

    pixel: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray

    def blend(self, corners: np.ndarray) -> np.ndarray:
        """Interpolates a per-corner value (T,3,C) to (P,C)."""
        seen = np.take(corners, self.triangle, axis=0)
        return np.einsum("pkc,pk->pc", seen, self.weights)


def project(points: np.ndarray, size: int, scale: float, distance: float) -> np.ndarray:
    """Perspective projection to pixels.

    Args:
        points: (N,3), x right in the picture, y up, z to the viewer, about the look-at point.
        size: of the square picture.
        scale: pixels for one unit at the look-at point.
        distance: of the camera from the look-at point.

    Returns:
        (N,3) float32 column, row, and depth that grows towards the viewer.
    """
    nearness = distance / (distance - points[:, 2])
    out = np.empty_like(points, dtype=np.float32)
    out[:, 0] = size / 2 + points[:, 0] * scale * nearness
    out[:, 1] = size / 2 - points[:, 1] * scale * nearness
    out[:, 2] = nearness
    return out


def rasterise(screen: np.ndarray, triangles: np.ndarray, size: int, cull: bool = True) -> Hits:
    """Finds what each pixel of a (size, size) picture shows.

    Triangles are cut into rows, rows into pixels, so that no pixel outside a triangle is looked at.

    Args:
        screen: (N,3) float32 column, row, nearness, as ``project`` gives.
        triangles: (T,3) vertex indices, counter-clockwise when seen from outside.
        size: of the picture.
        cull: leave out triangles seen from behind.
    """
    corners = screen[triangles].astype(np.float64)
    x, y = corners[:, :, 0], corners[:, :, 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    lowest, highest = _extent(y)
    leftmost, rightmost = _extent(x)
    top = np.clip(np.ceil(lowest - 0.5), 0, size).astype(np.int64)
    bottom = np.clip(np.floor(highest - 0.5), -1, size - 1).astype(np.int64)
    seen = (area < -1e-6) if cull else (np.abs(area) > 1e-6)
    kept = np.nonzero(seen & (bottom >= top) & (rightmost > 0) & (leftmost < size))[0]
    planes = _planes(corners[kept], area[kept])
    owner, line = _expand(top[kept], bottom[kept] - top[kept] + 1)
    slope, level = planes[owner, :, 0], planes[owner, :, 1] * (line + 0.5)[:, None]
    level += planes[owner, :, 2]
    first, count = _spans(slope[:, :3], level[:, :3], size)
    span, column = _expand(first, count)
    middle = column + 0.5
    depth = (slope[:, 3][span] * middle + level[:, 3][span]).astype(np.float32)
    pixel = (line * size)[span] + column
    nearest = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(nearest, pixel, depth)
    winners = np.nonzero(depth == nearest[pixel])[0]
    holder = np.full(size * size, -1, np.int64)
    holder[pixel[winners]] = winners  # of equals the last stays
    chosen = holder[holder >= 0]
    rows = span[chosen]
    weights = slope[rows, :3] * middle[chosen][:, None] + level[rows, :3]
    return Hits(pixel[chosen], kept[owner[rows]], weights.astype(np.float32))


def _extent(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest of three columns; numpy's own reductions are slow on short axes."""
    a, b, c = values.T
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _planes(corners: np.ndarray, area: np.ndarray) -> np.ndarray:
    """(T,4,3): three barycentric weights and nearness, each as a plane (x, y, 1) of the picture."""
    out = np.empty((len(corners), 4, 3))
    for k in range(3):
        a, b = corners[:, (k + 1) % 3], corners[:, (k + 2) % 3]
        out[:, k, 0] = (a[:, 1] - b[:, 1]) / area
        out[:, k, 1] = (b[:, 0] - a[:, 0]) / area
        out[:, k, 2] = (a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]) / area
    out[:, 3] = (out[:, :3] * corners[:, :, 2:]).sum(1)
    return out


def _expand(start: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists start, start + 1, ... of every range: (which range, value)."""
    owner = np.repeat(np.arange(len(start)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - (before - start)[owner]


def _spans(slope: np.ndarray, level: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First column and number of columns in which all of a row's (R,3) weights are positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -level / slope
    low, high = np.full(len(slope), -np.inf), np.full(len(slope), np.inf)
    flat_outside = np.zeros(len(slope), bool)
    for k in range(3):
        np.maximum(low, np.where(slope[:, k] > 0, crossing[:, k], -np.inf), out=low)
        np.minimum(high, np.where(slope[:, k] < 0, crossing[:, k], np.inf), out=high)
        flat_outside |= (slope[:, k] == 0) & (level[:, k] < 0)
    first = np.ceil(np.clip(low, -1, size + 1) - 0.5).clip(0, size).astype(np.int64)
    last = np.floor(np.clip(high, -1, size + 1) - 0.5).clip(-1, size - 1).astype(np.int64)
    return first, np.where(flat_outside, 0, np.maximum(last - first + 1, 0))
