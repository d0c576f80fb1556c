"""How a face moves while it speaks: face units from phonemes, blinks, gaze and the head's sway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from preprocessing.datasets.synthetic.mesh import Mesh
from preprocessing.datasets.synthetic.person import Person
from preprocessing.datasets.synthetic.speech import Phoneme

FPS = 25
_STEP_HZ = 200
_COARTICULATION_S = 0.028
_EYE_CORNERS_APART = 0.5256  # of the mean face, in face heights

# Mouth shapes as amounts of: jaw, wide, round, funnel, upper lip up, lower lip down, press,
# lower lip under the teeth, tongue out. Mesh nets hardly see lips that part over a shut jaw, and
# take funnelled lips for wide open ones, so the jaw does most of the work.
AXES = ("jaw", "wide", "round", "funnel", "upper", "lower", "press", "tuck", "tongue")
_SHAPES: dict[str, tuple[float, ...]] = {
    "rest": (0.0, 0, 0, 0, 0, 0, 0, 0, 0),
    "shut": (0.0, 0, 0, 0, 0, 0, 0.55, 0, 0),
    "teeth_on_lip": (0.05, 0.1, 0, 0, 0.2, 0, 0, 0.75, 0),
    "tongue_teeth": (0.16, 0.1, 0, 0, 0.15, 0.15, 0, 0, 0.6),
    "hiss": (0.10, 0.25, 0, 0, 0.15, 0.15, 0, 0, 0),
    "tip": (0.15, 0.1, 0, 0, 0.1, 0.1, 0, 0, 0.15),
    "back": (0.22, 0.1, 0, 0, 0.1, 0.15, 0, 0, 0),
    "breath": (0.26, 0, 0, 0, 0.1, 0.1, 0, 0, 0),
    "hush": (0.09, 0, 0.25, 0.35, 0.05, 0.05, 0, 0, 0),
    "kiss": (0.06, 0, 0.75, 0.05, 0, 0, 0, 0, 0),
    "r": (0.13, 0, 0.35, 0.12, 0, 0.1, 0, 0, 0),
    "ah": (0.66, 0, 0, 0, 0.2, 0.25, 0, 0, 0),
    "uh": (0.40, 0, 0, 0, 0.15, 0.2, 0, 0, 0),
    "ae": (0.58, 0.25, 0, 0, 0.25, 0.25, 0, 0, 0),
    "eh": (0.42, 0.25, 0, 0, 0.2, 0.2, 0, 0, 0),
    "ih": (0.24, 0.25, 0, 0, 0.12, 0.15, 0, 0, 0),
    "ee": (0.17, 0.42, 0, 0, 0.12, 0.15, 0, 0, 0),
    "schwa": (0.22, 0.05, 0, 0, 0.1, 0.1, 0, 0, 0),
    "aw": (0.52, 0, 0.25, 0.22, 0, 0.1, 0, 0, 0),
    "oo": (0.14, 0, 0.65, 0.16, 0, 0, 0, 0, 0),
}

# phoneme -> (shapes one after another, how firmly they are held against the neighbours)
_VISEMES: dict[str, tuple[tuple[str, ...], float]] = {}


def _say(symbols: str, shapes: tuple[str, ...], hold: float) -> None:
    _VISEMES.update(dict.fromkeys(symbols, (shapes, hold)))


_say("pbm", ("shut",), 7.0)
_say("fv", ("teeth_on_lip",), 4.0)
_say("θð", ("tongue_teeth",), 1.5)
_say("sz", ("hiss",), 1.8)
_say("tdnlɾ", ("tip",), 0.8)
_say("kɡŋxʔ", ("back",), 0.6)
_say("h", ("breath",), 0.4)
_say("ʃʒʧʤ", ("hush",), 2.0)
_say("w", ("kiss",), 2.2)
_say("ɹ", ("r",), 1.0)
_say("j", ("ee",), 0.9)
_say("ɑɒ", ("ah",), 1.5)
_say("ʌɐ", ("uh",), 1.2)
_say("æa", ("ae",), 1.5)
_say("ɛe", ("eh",), 1.4)
_say("ɪᵻ", ("ih",), 1.0)
_say("i", ("ee",), 1.4)
_say("əᵊ", ("schwa",), 0.5)
_say("ɜɚ", ("r", "schwa"), 1.1)
_say("ɔ", ("aw",), 1.6)
_say("uʊ", ("oo",), 1.6)
_say("o", ("aw",), 1.5)
_say("A", ("eh", "ee"), 1.4)
_say("I", ("ah", "ih"), 1.5)
_say("O", ("aw", "oo"), 1.6)
_say("QW", ("ah", "oo"), 1.5)
_say("Y", ("aw", "ih"), 1.5)


@dataclass(frozen=True)
class Performance:
    """A face's movement, one row a frame.

    Attributes:
        units: (T,U) weights of the face units ``UNITS``.
        gaze: (T,2) right, up, decimetres. turn: (T,3) yaw, pitch, roll in radians.
        shift: (T,3) of the head and body, decimetres.
    """

    units: np.ndarray
    gaze: np.ndarray
    turn: np.ndarray
    shift: np.ndarray


def mouth_shapes(phonemes: Sequence[Phoneme], frames: int) -> np.ndarray:
    """Mouth shape at the middle of every frame's time, (T, len(AXES)) in 0..1.

    Each phoneme pulls with its hold, and neighbours blend: bilabials win, schwas give way.
    """
    steps = frames * _STEP_HZ // FPS
    target = np.zeros((steps, len(AXES)))
    hold = np.full(steps, 0.8)
    for phoneme in phonemes:
        shapes, strength = _VISEMES.get(phoneme.symbol, (("rest",), 0.0))
        if phoneme.symbol not in _VISEMES:
            strength = 0.8 if phoneme.end_s - phoneme.start_s > 0.12 else 0.1
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(shapes) + 1) * _STEP_HZ
        for name, low, high in zip(shapes, edges[:-1], edges[1:], strict=True):
            span = slice(max(0, round(low)), max(0, round(high)))
            target[span] = _SHAPES[name]
            hold[span] = strength
    sigma = _COARTICULATION_S * _STEP_HZ
    pulled = gaussian_filter1d(target * hold[:, None], sigma, axis=0, mode="nearest")
    blended = pulled / (gaussian_filter1d(hold, sigma, mode="nearest")[:, None] + 1e-6)
    return blended[:: _STEP_HZ // FPS][:frames]


def _unit_weights(mouth: np.ndarray, smile: float) -> dict[str, np.ndarray]:
    jaw, wide, rounded, funnel, upper, lower, press, tuck, tongue = mouth.T
    both = {
        "mouthStretch": 0.45 * wide,
        "mouthSmile": 0.25 * wide + smile,
        "mouthUpperUp": upper,
        "mouthLowerDown": lower,
        "mouthPress": press,
    }
    weights = {f"{name}{side}": w for name, w in both.items() for side in ("Left", "Right")}
    return weights | {
        "jawOpen": jaw,
        "mouthPucker": rounded,
        "mouthFunnel": funnel,
        "mouthRollLower": 0.6 * tuck + 0.15 * press,
        "mouthRollUpper": 0.12 * press,
        "tongueOut": 0.45 * tongue,
    }


def _drift(rng: np.random.Generator, frames: int, columns: int, seconds: float) -> np.ndarray:
    """Slow random movement of unit spread, (T,columns)."""
    pad = round(3 * seconds * FPS)
    raw = rng.standard_normal((frames + 2 * pad, columns))
    smooth = gaussian_filter1d(raw, seconds * FPS, axis=0)
    return smooth[pad : pad + frames] * np.sqrt(2 * seconds * FPS * np.sqrt(np.pi))


def _blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    closed = np.zeros(frames + 8)
    shape = np.array([0.35, 0.9, 1.0, 0.75, 0.35, 0.1])
    at = int(rng.integers(10, 70))
    while at < frames:
        closed[at : at + 6] = shape
        at += int(rng.integers(45, 130))
    return closed[:frames]


def _saccades(rng: np.random.Generator, frames: int) -> np.ndarray:
    gaze = np.zeros((frames, 2))
    at = 0
    while at < frames:
        until = at + int(rng.integers(15, 60))
        gaze[at:until] = rng.normal(0, [0.012, 0.006])
        at = until
    return gaze


UNITS = (
    *_unit_weights(np.zeros((1, len(AXES))), 0.0),
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
)
"""Face units in the order of ``Performance.units``."""


def probes() -> np.ndarray:
    """Unit weights of a few speech shapes, shut to wide open, to try a face with: (P,U)."""
    names = ("rest", "hiss", "ee", "oo", "schwa", "uh", "aw", "ae", "ah")
    weights = _unit_weights(np.array([_SHAPES[name] for name in names]), 0.05)
    still = np.zeros(len(names))
    return np.stack([weights.get(name, still) for name in UNITS], 1)


def perform(
    person: Person, phonemes: Sequence[Phoneme], frames: int, rng: np.random.Generator
) -> Performance:
    """Works out the whole movement of a clip."""
    mouth = mouth_shapes(phonemes, frames) * person.articulation
    weights = _unit_weights(mouth, float(rng.uniform(0.0, 0.12)))
    blink = _blinks(rng, frames)
    brow = np.clip(0.15 + 0.2 * _drift(rng, frames, 1, 0.35)[:, 0], 0, 0.8)
    weights |= {
        "eyeBlinkLeft": blink,
        "eyeBlinkRight": blink,
        "browInnerUp": brow,
        "browOuterUpLeft": 0.6 * brow,
        "browOuterUpRight": 0.6 * brow,
    }
    lean = rng.normal([0.0, person.carriage, 0.0], [0.05, 0.012, 0.025])
    turn = lean + _drift(rng, frames, 3, 0.6) * np.array([0.04, 0.015, 0.022])
    shift = _drift(rng, frames, 3, 0.9) * np.array([0.025, 0.015, 0.02])
    gaze = _saccades(rng, frames) - np.stack([turn[:, 0] * 0.12, -turn[:, 1] * 0.08], 1)
    return Performance(np.stack([weights[name] for name in UNITS], 1), gaze, turn, shift)


class Rig:
    """Poses one person's face.

    Args:
        neutral: (N,3) the face at rest.
    """

    def __init__(self, mesh: Mesh, neutral: np.ndarray) -> None:
        self._neutral = neutral
        self._offsets = np.stack([mesh.units[name] for name in UNITS]).reshape(len(UNITS), -1)
        height = neutral[:, 1]
        rise = np.clip((height - 5.55) / 0.9, 0, 1)
        self._follows = (rise * rise * (3 - 2 * rise)).astype(np.float32)[:, None]
        self._pivot = np.array([0.0, 6.0, 0.1], np.float32)
        self._upper, self._lower = mesh.upper_lip, mesh.lower_lip
        self._face_height = face_height(mesh, neutral)

    def face(self, units: np.ndarray) -> np.ndarray:
        """The face with these unit weights (U,), before the head turns: (N,3)."""
        offsets = units.astype(np.float32) @ self._offsets
        return self._neutral + offsets.reshape(-1, 3)

    def opening(self, face: np.ndarray) -> float:
        """Gap between the inner lips in the mouth's middle over the height of the face.

        The same measure as ``core.media.shapes.opening``: the mean of three places.
        """
        gaps = [
            face[upper, 1].min() - face[lower, 1].max()
            for upper, lower in zip(self._upper, self._lower, strict=True)
        ]
        return float(max(0.0, np.mean(gaps)) / self._face_height)

    def pose(self, face: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """The face on a turned head: yaw, pitch, roll in radians, shift in decimetres."""
        yaw, pitch, roll = turn
        about_y = _rotation(yaw, 0, 2)
        about_x = _rotation(pitch, 1, 2)
        about_z = _rotation(roll, 0, 1)
        turned = (face - self._pivot) @ (about_y @ about_x @ about_z).T + self._pivot
        return (face + (turned - face) * self._follows + shift).astype(np.float32)


def _rotation(angle: float, first: int, second: int) -> np.ndarray:
    out = np.eye(3, dtype=np.float32)
    out[first, first] = out[second, second] = np.cos(angle)
    out[first, second], out[second, first] = np.sin(angle), -np.sin(angle)
    return out


def face_height(mesh: Mesh, neutral: np.ndarray) -> float:
    """Height of the face at rest, forehead to chin, decimetres.

    Taken from the outer eye corners by the proportion of the mean face in ``core.media.shapes``,
    whose fit to real meshes agrees within 2 %; the jaw doesn't change it.
    """
    apart = neutral[mesh.eye_corners[0]] - neutral[mesh.eye_corners[1]]
    return float(np.linalg.norm(apart) / _EYE_CORNERS_APART)
