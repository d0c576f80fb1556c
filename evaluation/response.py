"""Response curves: what each metric says of damage whose strength is known.

A metric that does not get worse with more damage, or is worse for damage it should not see, is no
judge of systems. Sources are damaged here by the pixel, so no net has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from core.errors import InputError
from core.files import atomic
from evaluation.videos import Seen, VideoCase, VideoMetric, together

MeshOf = Callable[[np.ndarray], np.ndarray | None]
"""A crop (S,S,3) uint8 -> (468,3) in its pixels, or None where there is no face."""


@dataclass(frozen=True)
class Damage:
    """A known damage.

    Attributes:
        name: of the damage. unit: of its strengths. strengths: rising; 0 is none and left out.
        apply: pictures (T,H,W,3) uint8 and a strength -> pictures of that shape.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float], np.ndarray]


def blur(pictures: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, sigma in pixels."""
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])


def noise(pictures: np.ndarray, sigma: float) -> np.ndarray:
    """White noise, sigma in grey levels of 255; another in each frame, the same in each call."""
    grain = np.random.default_rng(0).normal(0, sigma, pictures.shape)
    return _grey(pictures + grain)


def brightness(pictures: np.ndarray, levels: float) -> np.ndarray:
    """All pixels brighter by so many grey levels."""
    return _grey(pictures.astype(np.float32) + levels)


def shift(pictures: np.ndarray, frames: float) -> np.ndarray:
    """Late by whole frames; the first one waits."""
    return pictures[_late(len(pictures), frames)]


DAMAGES = (
    Damage("blur", "sigma, px", (0.5, 1, 2, 4), blur),
    Damage("noise", "sigma, levels", (2, 6, 18), noise),
    Damage("shift", "frames", (1, 3, 5), shift),
    Damage("brightness", "levels", (5, 15, 45), brightness),
)
OTHER = Damage("other person", "", (1,), lambda pictures, _: pictures)
"""Another video in the output's place; needs one to be given."""


@dataclass(frozen=True)
class Curve:
    """What one damage does to one number.

    Attributes:
        damage, unit: of the damage. number: its name.
        strengths: 0 first. values: of the number at each.
    """

    damage: str
    unit: str
    number: str
    strengths: tuple[float, ...]
    values: tuple[float, ...]


def damaged(seen: Seen, damage: Damage, strength: float, mesh_of: MeshOf | None = None) -> Seen:
    """A video after a damage: frames, crops and mesh.

    Args:
        seen: the video.
        damage: what is done to it.
        strength: how much.
        mesh_of: measures the damaged crops. Without it a shift takes the mesh along and any other
            damage leaves it as it was, so numbers made of landmarks say nothing of blur.
    """
    crops = damage.apply(seen.crops, strength)
    if mesh_of is not None:
        found = [mesh_of(crop) for crop in crops]
        nothing = np.full((468, 3), np.nan, np.float32)
        mesh = np.stack([nothing if points is None else points for points in found])
    else:
        late = damage.apply is shift
        mesh = seen.mesh[_late(len(seen), strength)] if late else seen.mesh
    return replace(seen, frames=damage.apply(seen.frames, strength), crops=crops, mesh=mesh)


def response(
    case: VideoCase,
    metrics: Sequence[VideoMetric],
    other: Seen | None = None,
    damages: Sequence[Damage] = DAMAGES,
    mesh_of: MeshOf | None = None,
) -> list[Curve]:
    """Each metric's numbers for each damage at rising strength, from the undamaged output on.

    Args:
        case: whose output is damaged; a perfect one, usually the source itself.
        metrics: those that say something of the case's kind are asked.
        other: another person's video of the same crop size, for the damage "other person".
        damages: which.
        mesh_of: see ``damaged``.

    Raises:
        InputError: no metric for the case's kind.
    """
    asked = [metric for metric in metrics if case.kind in metric.kinds]
    if not asked:
        raise InputError(f"no metric says anything of kind {case.kind!r}; give one that does")
    case = together(case)
    clean = _numbers(case, asked)
    curves = []
    for damage in damages:
        outputs = [damaged(case.output, damage, s, mesh_of) for s in damage.strengths]
        found = [_numbers(replace(case, output=output, cache={}), asked) for output in outputs]
        curves += _curves(damage, [clean, *found])
    if other is not None:
        swapped = together(replace(case, output=other, cache={}))
        curves += _curves(OTHER, [clean, _numbers(swapped, asked)])
    return curves


def plot(curves: Sequence[Curve], path: Path) -> Path:
    """Draws the curves, a row for each number and a column for each damage; returns the path.

    Raises:
        InputError: nothing to draw.
    """
    if not curves:
        raise InputError(f"there is no curve to draw into {path}; ask for one damage at least")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    numbers, damages = (
        list(dict.fromkeys(getattr(curve, name) for curve in curves))
        for name in ("number", "damage")
    )
    size = (2.6 * len(damages), 1.8 * len(numbers))
    figure, grid = pyplot.subplots(len(numbers), len(damages), figsize=size, squeeze=False)
    for curve in curves:
        row, column = numbers.index(curve.number), damages.index(curve.damage)
        axes = grid[row, column]
        axes.plot(curve.strengths, curve.values, marker=".")
        axes.tick_params(labelsize=7)
        if column == 0:
            axes.set_ylabel(curve.number, fontsize=8)
        if row == len(numbers) - 1:
            axes.set_xlabel(f"{curve.damage}, {curve.unit}".rstrip(", "), fontsize=8)
    figure.tight_layout()
    with atomic(path) as part:
        figure.savefig(part, format=path.suffix.lstrip(".") or "png", dpi=80)
    pyplot.close(figure)
    return path


def _numbers(case: VideoCase, metrics: Sequence[VideoMetric]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics:
        found |= metric.reduce([metric.observe(case)])
    return found


def _curves(damage: Damage, found: Sequence[Mapping[str, float]]) -> list[Curve]:
    strengths = (0.0, *(float(s) for s in damage.strengths))
    return [
        Curve(damage.name, damage.unit, name, strengths, tuple(one[name] for one in found))
        for name in found[0]
    ]


def _late(count: int, frames: float) -> np.ndarray:
    return (np.arange(count) - round(frames)).clip(0)


def _grey(pictures: np.ndarray) -> np.ndarray:
    return np.clip(np.round(pictures), 0, 255).astype(np.uint8)
