"""The skin's canvas: the base mesh unrolled on a cylinder, so that paint follows the anatomy.

Column is the angle about the head's axis (the face in the middle), row is height. Everything is
painted in coordinates of the base mesh, hence fits every identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from preprocessing.datasets.synthetic.mesh import BODY, LOWEST_Y, Mesh
from preprocessing.datasets.synthetic.raster import rasterise

SIZE = 1024
TOP_Y = 8.7
AXIS_Z = 0.3


@dataclass(frozen=True)
class Canvas:
    """Where each texel lies on the base mesh.

    Attributes:
        place: (N,2) float32 column, row of every vertex.
        x, y, z: (SIZE,SIZE) float32 position of the surface under a texel, decimetres.
        angle: (SIZE,SIZE) about the head's axis, radians, 0 in front.
        lips, eyelids: (SIZE,SIZE) float32 masks.
        bare: (N,) 1 where hair never grows (ears, inner mouth).
    """

    place: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    angle: np.ndarray
    lips: np.ndarray
    eyelids: np.ndarray
    bare: np.ndarray


def unroll(mesh: Mesh) -> Canvas:
    """Bakes the canvas of a mesh."""
    angle = np.arctan2(mesh.vertices[:, 0], mesh.vertices[:, 2] - AXIS_Z)
    place = np.empty((len(angle), 2), np.float32)
    place[:, 0] = (angle / (2 * np.pi) + 0.5) * SIZE
    place[:, 1] = (TOP_Y - mesh.vertices[:, 1]) / (TOP_Y - LOWEST_Y) * SIZE
    inner = mesh.masks["inside-mouth"] > 0.3
    ears = mesh.masks["ears"] > 0.3
    outer = (mesh.part == BODY) & ~(inner | ears)[mesh.triangles].any(1)
    spans = np.ptp(angle[mesh.triangles], axis=1) < np.pi
    triangles = mesh.triangles[outer & spans]
    radius = np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2] - AXIS_Z)
    hits = rasterise(np.column_stack([place, radius]).astype(np.float32), triangles, SIZE, False)
    values = np.column_stack([mesh.vertices, mesh.masks["lips"], mesh.masks["eyelids"]]).astype(
        np.float32
    )
    maps = np.zeros((SIZE * SIZE, 5), np.float32)
    maps[hits.pixel] = hits.blend(values[triangles])
    x, _, z, lip, lid = (maps[:, k].reshape(SIZE, SIZE) for k in range(5))
    column, row = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    height = (TOP_Y - row / SIZE * (TOP_Y - LOWEST_Y)).astype(np.float32)
    around = ((column / SIZE - 0.5) * 2 * np.pi).astype(np.float32)
    lips = cv2.GaussianBlur(lip, (0, 0), 1.2)
    bare = np.maximum(mesh.masks["inside-mouth"], mesh.masks["ears"])
    return Canvas(place, x, height, z, around, lips, lid, bare)


def at_vertices(picture: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Samples a (SIZE,SIZE) map at every vertex: (N,)."""
    column = np.clip(canvas.place[:, 0].astype(np.int64), 0, SIZE - 1)
    row = np.clip(canvas.place[:, 1].astype(np.int64), 0, SIZE - 1)
    return picture[row, column]


def noise(rng: np.random.Generator, sigma_x: float, sigma_y: float | None = None) -> np.ndarray:
    """Smooth noise over the canvas, (SIZE,SIZE) float32 with unit spread."""
    sigma_y = sigma_x if sigma_y is None else sigma_y
    shrink = max(1, int(min(sigma_x, sigma_y) / 2))
    side = SIZE // shrink
    grain = rng.standard_normal((side, side), dtype=np.float32)
    smooth = cv2.GaussianBlur(grain, (0, 0), sigmaX=sigma_x / shrink, sigmaY=sigma_y / shrink)
    smooth = cv2.resize(smooth, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return (smooth - smooth.mean()) / (smooth.std() + 1e-6)
