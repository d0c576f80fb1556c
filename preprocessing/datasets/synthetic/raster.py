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
        seen = corners[self.triangle]
        out = seen[:, 0] * self.weights[:, :1]
        out += seen[:, 1] * self.weights[:, 1:2]
        out += seen[:, 2] * self.weights[:, 2:]
        return out


def project(points: np.ndarray, size: int, scale: float, distance: float) -> np.ndarray:
    """Perspective projection to pixels.

    Args:
        points: (N,3), x right in the picture, y up, z to the viewer, about the look-at point.
        size: of the square picture. scale: pixels for one unit at the look-at point.
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

    Args:
        screen: (N,3) float32 column, row, nearness, as ``project`` gives.
        triangles: (T,3) vertex indices, counter-clockwise when seen from outside.
        cull: leave out triangles seen from behind.
    """
    corners = screen[triangles]
    x, y = corners[:, :, 0], corners[:, :, 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    left = np.clip(np.ceil(x.min(1) - 0.5), 0, size).astype(np.int32)
    right = np.clip(np.floor(x.max(1) - 0.5), -1, size - 1).astype(np.int32)
    top = np.clip(np.ceil(y.min(1) - 0.5), 0, size).astype(np.int32)
    bottom = np.clip(np.floor(y.max(1) - 0.5), -1, size - 1).astype(np.int32)
    seen = (area < -1e-6) if cull else (np.abs(area) > 1e-6)
    seen &= (right >= left) & (bottom >= top)
    kept = np.nonzero(seen)[0]
    wide = right[kept] - left[kept] + 1
    count = wide * (bottom[kept] - top[kept] + 1)
    each = np.repeat(np.arange(len(kept)), count)
    start = np.cumsum(count) - count
    local = np.arange(len(each), dtype=np.int32) - np.repeat(start, count).astype(np.int32)
    row_in = local // wide[each]
    column = local - row_in * wide[each] + left[kept][each]
    row = row_in + top[kept][each]
    planes = _edge_planes(x[kept], y[kept], area[kept])
    fx, fy = column.astype(np.float32) + 0.5, row.astype(np.float32) + 0.5
    mine = planes[each]
    w0 = mine[:, 0] * fx + mine[:, 1] * fy + mine[:, 2]
    w1 = mine[:, 3] * fx + mine[:, 4] * fy + mine[:, 5]
    w2 = 1.0 - w0 - w1
    inside = np.nonzero((w0 >= 0) & (w1 >= 0) & (w2 >= 0))[0]
    weights = np.stack([w0[inside], w1[inside], w2[inside]], 1)
    triangle = kept[each[inside]]
    pixel = row[inside] * size + column[inside]
    depth = (corners[triangle, :, 2] * weights).sum(1)
    nearest = np.full(size * size, -np.inf, np.float32)
    np.maximum.at(nearest, pixel, depth)
    winners = np.nonzero(depth == nearest[pixel])[0]
    owner = np.full(size * size, -1, np.int64)
    owner[pixel[winners]] = winners  # of equals the last stays
    chosen = owner[owner >= 0]
    return Hits(pixel[chosen], triangle[chosen], weights[chosen])


def _edge_planes(x: np.ndarray, y: np.ndarray, area: np.ndarray) -> np.ndarray:
    """(T,6) coefficients of the first two barycentric weights as planes over the picture."""
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    out = np.empty((len(x), 6), np.float64)
    for slot, (i, j) in enumerate(((1, 2), (2, 0))):
        out[:, 3 * slot] = y64[:, i] - y64[:, j]
        out[:, 3 * slot + 1] = x64[:, j] - x64[:, i]
        out[:, 3 * slot + 2] = x64[:, i] * y64[:, j] - x64[:, j] * y64[:, i]
    return (out / area[:, None].astype(np.float64)).astype(np.float32)
