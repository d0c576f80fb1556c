"""Where a clip is shot: lights, background, framing; and the picture of a posed head in it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from preprocessing.datasets.synthetic.canvas import Canvas, at_vertices
from preprocessing.datasets.synthetic.mesh import BODY, EYES, LASHES, TEETH, TONGUE, Mesh
from preprocessing.datasets.synthetic.paint import Paint, linear
from preprocessing.datasets.synthetic.person import Colour, Person
from preprocessing.datasets.synthetic.raster import Hits, project, rasterise
from preprocessing.datasets.synthetic.surface import (
    cross,
    eye_colour,
    normal_sum,
    occlusion,
    sample,
)

_LOOK_AT = np.array([0.0, 7.02, 0.5], np.float32)
_DISTANCE = 11.0
_SUPERSAMPLE = 1.5


@dataclass(frozen=True)
class Scene:
    """Light and surroundings of one clip.

    Attributes:
        key: (3,) direction to the main light. key_colour, sky, ground: linear RGB.
        rim: strength of a light from behind. zoom: picture height in decimetres.
        background: (S,S,3) float32 sRGB picture in 0..1. cloth: sRGB.
    """

    key: np.ndarray
    key_colour: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    rim: float
    zoom: float
    background: np.ndarray
    cloth: Colour


def draw_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draws light, background and clothes of a clip."""
    side = float(rng.uniform(-0.9, 0.9))
    key = np.array([side, rng.uniform(0.15, 0.75), 1.0])
    warm = float(rng.uniform(-0.12, 0.12))
    tint = np.array([1 + warm, 1.0, 1 - warm])
    strength = float(rng.uniform(0.65, 0.95))
    fill = float(rng.uniform(0.28, 0.5))
    hue = rng.uniform(0.2, 0.9, 3)
    cloth = tuple(float(c) for c in (hue * rng.uniform(0.3, 0.9)).clip(0.05, 0.9))
    return Scene(
        (key / np.linalg.norm(key)).astype(np.float32),
        (strength * tint).astype(np.float32),
        (fill * (1.25 - 0.25 * tint)).astype(np.float32),
        (0.45 * fill * tint).astype(np.float32),
        float(rng.uniform(0.0, 0.35)),
        float(rng.uniform(2.9, 3.4)),
        _background(rng, size),
        (cloth[0], cloth[1], cloth[2]),
    )


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    top, bottom = rng.uniform(0.1, 0.9, (2, 1)) * 0.65 + rng.uniform(0.1, 0.9, (2, 3)) * 0.3
    t = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    picture = np.ascontiguousarray(
        np.broadcast_to(top * (1 - t) + bottom * t, (size, size, 3)), np.float32
    )
    for _ in range(int(rng.integers(0, 9))):
        corner = rng.integers(-size // 4, size, 2)
        extent = rng.integers(size // 12, size // 2, 2)
        colour = [float(c) for c in rng.uniform(0.1, 0.95, 3) * 0.4 + rng.uniform(0, 0.55)]
        start = (int(corner[0]), int(corner[1]))
        if rng.random() < 0.6:
            end = (int(corner[0] + extent[0]), int(corner[1] + extent[1]))
            cv2.rectangle(picture, start, end, colour, -1)
        else:
            cv2.circle(picture, start, int(extent[0] // 2), colour, -1)
    soft = cv2.GaussianBlur(picture, (0, 0), size * float(rng.uniform(0.01, 0.05)))
    grain = rng.normal(0, 0.008, (size, size, 3))
    return (soft + grain).astype(np.float32)


class Painter:
    """Draws one person in one scene; all that doesn't move is worked out once.

    Args:
        neutral: (N,3) the person's face at rest. size: of the square picture.
    """

    def __init__(
        self,
        mesh: Mesh,
        canvas: Canvas,
        person: Person,
        paint: Paint,
        neutral: np.ndarray,
        scene: Scene,
        size: int,
    ) -> None:
        self._mesh, self._person, self._scene, self._size = mesh, person, scene, size
        self._paint = paint
        self._inner = round(size * _SUPERSAMPLE / 2) * 2
        self._scale = self._inner / scene.zoom
        self._sum = normal_sum(mesh)
        self._grow = self._growth(canvas)
        normals = self._normals(neutral)
        shade = occlusion(mesh, neutral + normals * self._grow[:, None], _LOOK_AT)
        bare = canvas.bare
        values = np.column_stack([canvas.place, shade, bare]).astype(np.float32)
        self._fixed = values[mesh.triangles]
        self._base = mesh.vertices[mesh.triangles]
        inner_mouth = mesh.masks["inside-mouth"] > 0.5
        self._kind = np.where(inner_mouth[mesh.triangles].all(1), TONGUE + 10, mesh.part)
        backdrop = np.asarray(cv2.resize(scene.background, (self._inner, self._inner)))
        self._backdrop = linear(np.clip(backdrop, 0, 1)).reshape(-1, 3)
        half = scene.key + np.array([0, 0, 1], np.float32)
        self._half = half / np.linalg.norm(half)

    def _growth(self, canvas: Canvas) -> np.ndarray:
        skin = np.zeros(len(self._mesh.vertices), bool)
        skin[np.unique(self._mesh.triangles[self._mesh.part == BODY])] = True
        thick = at_vertices(self._paint.thick, canvas) * (1 - np.clip(canvas.bare * 2, 0, 1))
        cloth = at_vertices(self._paint.cloth, canvas)
        return ((thick + 0.03 * cloth) * skin).astype(np.float32)

    def _normals(self, vertices: np.ndarray) -> np.ndarray:
        corners = vertices[self._mesh.triangles]
        faces = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.asarray(self._sum @ faces)
        length = np.sqrt(np.einsum("nc,nc->n", normals, normals))[:, None] + 1e-9
        return (normals / length).astype(np.float32)

    def draw(self, vertices: np.ndarray, parted: float, gaze: tuple[float, float]) -> np.ndarray:
        """The picture of a posed head.

        Args:
            vertices: (N,3) posed, decimetres.
            gaze: (right, up) shift of the iris, decimetres.
            parted: the mouth's opening over face height; it lets light in.

        Returns:
            (size,size,3) uint8 RGB.
        """
        normals = self._normals(vertices)
        grown = vertices + normals * self._grow[:, None]
        normals = self._normals(grown)
        screen = project(grown - _LOOK_AT, self._inner, self._scale, _DISTANCE)
        hits = rasterise(screen, self._mesh.triangles, self._inner)
        fixed = hits.blend(self._fixed)
        normal = hits.blend(normals[self._mesh.triangles])
        normal /= np.sqrt(np.einsum("pc,pc->p", normal, normal))[:, None] + 1e-9
        kind = self._kind[hits.triangle]
        colour, gloss = self._albedo(fixed)
        open_light = self._inside(hits, kind, colour, gloss, gaze, parted)
        lit = self._shade(colour, normal, fixed[:, 2] * open_light[0] + open_light[1], gloss)
        picture = self._backdrop.copy()
        picture[hits.pixel] = lit
        square = picture.reshape(self._inner, self._inner, 3)
        small = cv2.resize(square, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return (np.sqrt(np.clip(small, 0, 1)) * 255 + 0.5).astype(np.uint8)

    def _albedo(self, fixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colour and gloss of skin, hair and clothes."""
        take = (fixed[:, 0] - 0.5, fixed[:, 1] - 0.5)
        cover = sample(self._paint.cover, *take) * np.clip(1 - 2 * fixed[:, 3], 0, 1)
        skin = sample(self._paint.skin, *take)
        hair = sample(self._paint.hair, *take)
        colour = skin + (hair - skin) * cover[:, None]
        cloth = sample(self._paint.cloth, *take)
        gloss = 0.10 * (1 - cover) * (1 - cloth) + 0.06 * cover
        return colour, gloss

    def _inside(
        self,
        hits: Hits,
        kind: np.ndarray,
        colour: np.ndarray,
        gloss: np.ndarray,
        gaze: tuple[float, float],
        parted: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colours eyes, teeth, tongue and lashes in place; gives factors on and above occlusion."""
        factor = np.ones(len(kind), np.float32)
        extra = np.zeros(len(kind), np.float32)
        hidden = np.nonzero(kind != BODY)[0]
        where = (self._base[hits.triangle[hidden]] * hits.weights[hidden][:, :, None]).sum(1)
        part = kind[hidden]
        eye = part == EYES
        colour[hidden[eye]] = eye_colour(where[eye], self._mesh, self._person, gaze)
        gloss[hidden[eye]] = 0.12
        factor[hidden[eye]], extra[hidden[eye]] = 0.8, 0.2
        teeth = part == TEETH
        gaps = np.abs((np.abs(where[teeth, 0]) + 0.045) % 0.09 - 0.045)
        bright = 0.72 - 0.22 * np.exp(-((gaps / 0.008) ** 2))
        colour[hidden[teeth]] = bright[:, None] * np.array([0.92, 0.88, 0.78], np.float32)
        gloss[hidden[teeth]] = 0.12
        colour[hidden[part == TONGUE]] = linear((0.66, 0.30, 0.32))
        colour[hidden[part == TONGUE + 10]] = linear((0.45, 0.16, 0.17))
        colour[hidden[part == LASHES]] = linear(np.asarray(self._person.hair) * 0.5)
        cave = (part == TEETH) | (part == TONGUE) | (part == TONGUE + 10)
        depth = np.clip((1.52 - where[cave, 2]) / 0.5, 0, 1)
        factor[hidden[cave]] = 0.0
        aside = np.exp(-((np.abs(where[cave, 0]) / 0.2) ** 4))
        reach = np.where(part[cave] == TEETH, 1.2, 0.45) * (0.2 + 0.8 * aside)
        extra[hidden[cave]] = (
            (0.03 + reach * min(1.0, 0.35 + 8 * parted)) * np.exp(-4.0 * depth) * 0.8
        )
        gloss[hidden[cave]] *= np.exp(-4.0 * depth)
        return factor, extra

    def _shade(
        self, colour: np.ndarray, normal: np.ndarray, light: np.ndarray, gloss: np.ndarray
    ) -> np.ndarray:
        scene = self._scene
        facing = normal @ scene.key
        wrap = np.clip((facing + 0.25) / 1.25, 0, 1)
        soft = np.clip((facing + 0.45) / 1.45, 0, 1)  # red light bleeds further into shade
        light = np.clip(light, 0, 1)
        direct = light * 0.65 + 0.35
        out = np.empty_like(colour)
        up = 0.5 + 0.5 * normal[:, 1]
        for c in range(3):
            beam = 0.6 * wrap + 0.4 * soft if c == 0 else 0.92 * wrap + 0.08 * soft
            around = scene.ground[c] + (scene.sky[c] - scene.ground[c]) * up
            out[:, c] = colour[:, c] * (scene.key_colour[c] * beam * direct * 1.15 + around * light)
        shine = np.clip(normal @ self._half, 0, 1)
        for _ in range(4):
            shine *= shine
        edge = np.clip(1 - normal[:, 2], 0, 1)
        rim = scene.rim * edge * edge * edge * (normal[:, 1] * 0.5 + 0.5)
        out += ((gloss * shine * wrap + 0.25 * rim * (gloss + 0.05) * 4) * direct)[:, None]
        return out
