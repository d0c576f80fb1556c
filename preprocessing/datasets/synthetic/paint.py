"""Paints a person's skin, brows, beard, hair and clothes on the canvas."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from preprocessing.datasets.synthetic.canvas import SIZE, Canvas, noise
from preprocessing.datasets.synthetic.person import Colour, Person


@dataclass(frozen=True)
class Paint:
    """A painted canvas.

    Attributes:
        skin: (SIZE,SIZE,3) float32 linear RGB. hair: the same, under ``cover``.
        cover: (SIZE,SIZE) how much hair hides the skin. thick: how far hair stands out, decimetres.
        cloth: (SIZE,SIZE) 1 where clothes are.
    """

    skin: np.ndarray
    hair: np.ndarray
    cover: np.ndarray
    thick: np.ndarray
    cloth: np.ndarray


def linear(colour: np.ndarray | Colour) -> np.ndarray:
    """sRGB to the linear values that are shaded (gamma 2 stands for sRGB's curve)."""
    return np.asarray(colour, np.float32) ** 2


def _ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _spot(canvas: Canvas, x: float, y: float, wide: float, tall: float) -> np.ndarray:
    """A soft spot on both sides of the face."""
    return np.exp(-(((np.abs(canvas.x) - x) / wide) ** 2) - ((canvas.y - y) / tall) ** 2) * (
        canvas.z > 0.5
    )


def _mixed(under: np.ndarray, over: np.ndarray | Colour, cover: np.ndarray) -> np.ndarray:
    return under + (np.asarray(over, np.float32) - under) * cover[:, :, None]


def _skin(person: Person, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    base = np.asarray(person.skin, np.float32)
    tone = 1 + 0.025 * noise(rng, 18) + 0.012 * noise(rng, 1.2) + 0.012 * noise(rng, 4)
    skin = base * tone[:, :, None]
    flush = np.array([1.06, 0.90, 0.88], np.float32) * base
    rosy = 0.55 * _spot(canvas, 0.52, 6.95, 0.28, 0.22) + 0.45 * _spot(
        canvas, 0.0, 6.98, 0.16, 0.12
    )
    skin = _mixed(skin, flush, rosy)
    tired = (0.25 + 0.35 * person.old) * _spot(canvas, 0.33, 7.12, 0.16, 0.06)
    skin = _mixed(skin, base * [0.80, 0.72, 0.74], tired)
    skin = _mixed(skin, base * [0.82, 0.72, 0.70], 0.5 * canvas.eyelids)
    if person.freckles > 0:
        dots = _ramp(noise(rng, 1.6), 1.9, 2.4) * _spot(canvas, 0.3, 7.0, 0.45, 0.3)
        skin = _mixed(
            skin, base * [0.72, 0.56, 0.45], np.clip(dots * person.freckles * 1.5, 0, 0.8)
        )
    if person.old > 0.3:
        spots = _ramp(noise(rng, 5), 1.9, 2.3) * 0.5 * person.old
        skin = _mixed(skin, base * [0.80, 0.70, 0.62], spots)
    return skin


def _lips(person: Person, canvas: Canvas, skin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    natural = np.asarray(person.skin) * [0.86, 0.60, 0.60]
    painted = np.array([0.62, 0.12, 0.18]) * (0.7 + 0.5 * float(rng.random()))
    colour = natural + (painted - natural) * person.lipstick * 0.7
    grain = (1 + 0.05 * noise(rng, 0.8, 4))[:, :, None]
    return skin + (colour.astype(np.float32) * grain - skin) * (0.9 * canvas.lips)[:, :, None]


def _brows(person: Person, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    across = np.abs(canvas.x)
    lift = float(rng.uniform(-0.01, 0.03))
    arch = float(rng.uniform(0.02, 0.08))
    t = np.clip((across - 0.11) / 0.47, 0, 1)
    middle = 7.475 + lift + arch * np.sin(np.pi * np.clip(t * 1.05, 0, 1)) - 0.03 * t
    half = (0.045 - 0.026 * t) * (0.7 + 0.5 * person.brow)
    body = np.exp(-(((canvas.y - middle) / half) ** 2))
    ends = _ramp(across, 0.08, 0.16) * (1 - _ramp(across, 0.50, 0.62))
    strokes = 0.85 + 0.12 * noise(rng, 0.9, 1.5)
    front = canvas.z > 0.6
    return np.clip(body * ends * strokes * front * min(1.0, 0.5 + 0.5 * person.brow), 0, 0.95)


def _beard(person: Person, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    if person.beard <= 0:
        return np.zeros((SIZE, SIZE), np.float32)
    across = np.abs(canvas.x)
    jaw = (1 - _ramp(canvas.y, 6.62, 6.78)) * _ramp(canvas.y, 6.08, 6.3)
    side = _ramp(across, 0.45, 0.62) * (1 - _ramp(canvas.y, 7.0, 7.3)) * _ramp(canvas.y, 6.0, 6.3)
    moustache = _spot(canvas, 0.12, 6.78, 0.22, 0.07)
    area = np.maximum(np.maximum(jaw, side * (np.abs(canvas.angle) < 1.45)), moustache)
    area = area * (np.abs(canvas.angle) < 1.45) * (1 - np.clip(canvas.lips * 2.5, 0, 1))
    full = person.beard > 0.4
    grain = 0.8 + 0.15 * noise(rng, 1.1, 2.5) if full else 0.6 + 0.15 * noise(rng, 0.9)
    return np.clip(area * grain * (0.25 + 0.7 * person.beard), 0, 0.92).astype(np.float32)


def _scalp(person: Person, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """1 where hair grows on the head."""
    around = np.abs(canvas.angle)
    widow = float(rng.uniform(0.0, 0.08))
    knots = np.array([0.0, 0.35, 0.8, 1.05, 1.2, 1.42, 1.6, 2.0, np.pi])
    line = np.array([7.93 - widow, 7.95, 7.84, 7.62, 7.2, 7.0, 6.75, 6.45, 6.3])
    line = line + person.hairline * np.array([1.0, 1.3, 1.2, 0.6, 0, 0, 0, 0, 0])
    if person.style == "long":
        line[3:] = [7.55, 6.6, 5.95, 5.8, 5.8, 5.8]
    edge = np.interp(around, knots, line)
    ragged = 0.012 * noise(rng, 1.5, 6) + 0.022 * noise(rng, 22)
    return _ramp(canvas.y - edge + ragged, -0.07, 0.07)


_THICK = {"bald": 0.0, "buzz": 0.02, "short": 0.09, "full": 0.17, "long": 0.15}
_COVER = {"bald": 0.12, "buzz": 0.75, "short": 0.97, "full": 1.0, "long": 1.0}


def paint(person: Person, canvas: Canvas, cloth: Colour) -> Paint:
    """Paints one person, dressed in ``cloth`` (sRGB)."""
    rng = np.random.default_rng([person.seed, int(person.name[2:]), 11])
    skin = _lips(person, canvas, _skin(person, canvas, rng), rng)
    hair = np.asarray(person.hair, np.float32)
    brows = _brows(person, canvas, rng)
    skin = _mixed(skin, hair * 0.8 + 0.02, brows)
    skin = _mixed(skin, hair * 0.9 + 0.02, _beard(person, canvas, rng))
    scalp = _scalp(person, canvas, rng)
    strands = 1 + 0.20 * noise(rng, 1.2, 20) + 0.15 * noise(rng, 3.5, 40) + 0.05 * noise(rng, 1)
    locks = (hair * 1.1 + 0.05) * np.clip(strands, 0.4, 1.8)[:, :, None]
    rise = _ramp(canvas.y, 6.9, 8.2) * 0.7 + 0.3
    if person.style == "long":
        rise = 0.9 + 0.9 * _ramp(7.6 - canvas.y, 0, 1.2)
    wavy = 1 + 0.18 * noise(rng, 22)
    thick = cv2.GaussianBlur(scalp * rise * wavy, (0, 0), 5) * _THICK[person.style]
    collar = 5.70 - 0.10 * np.cos(canvas.angle * 2)
    dressed = _ramp(collar - canvas.y, 0.0, 0.03)
    fold = np.clip(1 + 0.06 * noise(rng, 9), 0.7, 1.3)[:, :, None]
    skin = _mixed(skin, np.asarray(cloth, np.float32) * fold, dressed)
    cover = scalp * _COVER[person.style]
    return Paint(
        linear(np.clip(skin, 0, 1)),
        linear(np.clip(locks, 0, 1)),
        cover.astype(np.float32),
        thick.astype(np.float32),
        dressed.astype(np.float32),
    )
