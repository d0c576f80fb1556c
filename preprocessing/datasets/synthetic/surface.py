"""Pieces the painter needs: normals, ambient occlusion, sampling of the canvas, the eye."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import sparse

from preprocessing.datasets.synthetic.mesh import EYES, LASHES, Mesh
from preprocessing.datasets.synthetic.paint import linear
from preprocessing.datasets.synthetic.person import Person
from preprocessing.datasets.synthetic.raster import rasterise


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of (T,3) rows, some times faster than numpy's."""
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out


def sample(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of a (H,W) or (H,W,3) picture at columns x (P,) and rows y (P,)."""
    # cv2.remap takes at most 32767 rows, so the places are laid out as a wide picture.
    count, wide = len(x), 512
    tall = -(-count // wide)
    places = np.zeros((2, tall * wide), np.float32)
    places[0, :count], places[1, :count] = x, y
    columns, rows = places.reshape(2, tall, wide)
    found = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(tall * wide, *picture.shape[2:])[:count]


def eye_colour(
    where: np.ndarray, mesh: Mesh, person: Person, gaze: tuple[float, float]
) -> np.ndarray:
    """Linear RGB (P,3) of the eyeballs at places (P,3) of the base mesh: white, iris, pupil."""
    centre = mesh.eye_centres[(where[:, 0] < 0).astype(np.int64)]
    off = where - centre
    away = np.hypot(off[:, 0] - gaze[0], off[:, 1] - gaze[1])
    white = linear((0.90, 0.87, 0.85)) * (1 - 0.35 * np.clip(away / 0.15, 0, 1) ** 2)[:, None]
    iris = linear(person.iris) * (0.75 + 0.7 * np.clip(away / 0.07, 0, 1))[:, None]
    in_iris = np.clip((0.071 - away) / 0.008, 0, 1)[:, None]
    ring = np.exp(-(((away - 0.067) / 0.008) ** 2))[:, None]
    pupil = np.clip((0.032 - away) / 0.006, 0, 1)[:, None]
    colour = white + (iris - white) * in_iris
    return (colour * (1 - 0.6 * ring) * (1 - 0.97 * pupil)).astype(np.float32)


def normal_sum(mesh: Mesh) -> sparse.csr_matrix:
    """Adds face normals up at their vertices: (N,T)."""
    faces = np.repeat(np.arange(len(mesh.triangles)), 3)
    ones = np.ones(len(faces), np.float32)
    shape = (len(mesh.vertices), len(mesh.triangles))
    return sparse.csr_matrix((ones, (mesh.triangles.ravel(), faces)), shape=shape)


def occlusion(
    mesh: Mesh, vertices: np.ndarray, look_at: np.ndarray, directions: int = 40, size: int = 160
) -> np.ndarray:
    """How much of the sky above it each vertex sees, (N,) in 0..1, by shadow maps."""
    index = np.arange(directions) + 0.5
    polar = np.arccos(1 - 2 * index / directions)
    turn = np.pi * (1 + 5**0.5) * index
    ways = np.stack([np.cos(turn) * np.sin(polar), np.cos(polar), np.sin(turn) * np.sin(polar)], 1)
    corners = vertices[mesh.triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.asarray(normal_sum(mesh) @ faces)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    seen = np.zeros(len(vertices))
    total = np.zeros(len(vertices))
    solid = mesh.triangles[(mesh.part != LASHES) & (mesh.part != EYES)]
    for way in ways:
        side = np.cross(way, [0.3, 0.9, 0.2])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(way, side), way], 1)
        turned = (vertices - look_at) @ frame
        screen = (turned * [size / 5.2, size / 5.2, 1] + [size / 2, size / 2, 0]).astype(np.float32)
        hits = rasterise(screen, solid, size, cull=False)
        height = np.full(size * size, -np.inf, np.float32)
        height[hits.pixel] = hits.blend(screen[solid][:, :, 2:])[:, 0]
        at = np.clip(screen[:, :2].astype(np.int64), 0, size - 1)
        free = screen[:, 2] > height[at[:, 1] * size + at[:, 0]] - 0.06
        facing = np.clip(normals @ way, 0, None)
        seen += free * facing
        total += facing
    return np.clip(seen / (total + 1e-6), 0.05, 1) ** 0.8
