"""BRISQUE after Mittal, Moorthy & Bovik, "No-reference image quality assessment in the spatial
domain" (2012): how far a picture's local statistics are from those that people rate well.

The features are our own computation. The regression on them is the authors' support vector machine
(LIVE's release: ``allmodel``, a LIBSVM text, and ``allrange``), which a person provides:

    python -m evaluation.metrics.brisque ALLMODEL ALLRANGE weights/brisque_live.safetensors
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.special import gamma

from core.errors import InputError
from core.weights import Store
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, VideoCase
from models.experts.imresize import halved

WEIGHT = "brisque_live"
FEATURES = 36
SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Neighbours whose products are looked at, in the order of the release."""
TINY = 1e-12
FLAT = 1e-9
"""Less than this is the rounding of a flat patch, whose sign must not be counted: it is 0."""


def features(picture: np.ndarray) -> np.ndarray:
    """The 36 features of a picture (H,W,3) uint8 RGB, (36,) float64: 18 at full size, 18 at half.

    Each 18: shape and variance of the normalised picture, then shape, mean, left and right variance
    of the products of its neighbours, in four directions.
    """
    grey: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return np.concatenate([_eighteen(grey), _eighteen(halved(grey))])


def normalised(grey: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalised (H,W) picture; black around it, as in the release."""
    edge = cv2.BORDER_CONSTANT
    mean = cv2.GaussianBlur(grey, (7, 7), 7 / 6, borderType=edge)
    square = cv2.GaussianBlur(grey * grey, (7, 7), 7 / 6, borderType=edge)
    normal = (grey - mean) / (np.sqrt(np.abs(square - mean * mean)) + 1)
    return np.where(np.abs(normal) < FLAT, 0.0, normal)


@dataclass(frozen=True)
class Regression:
    """A support vector regression with a radial kernel.

    Attributes:
        support: (N,36) vectors, scaled. weight: (N,) of each.
        gamma: of the kernel. rho: what is taken off the sum.
        low, high: (36,) of the features that are scaled to -1 and 1.
    """

    support: np.ndarray
    weight: np.ndarray
    gamma: float
    rho: float
    low: np.ndarray
    high: np.ndarray

    def score(self, found: np.ndarray) -> float:
        """A picture's BRISQUE from its features (36,)."""
        scaled = -1 + 2 * (found - self.low) / (self.high - self.low)
        apart = ((self.support - scaled) ** 2).sum(1)
        return float(self.weight @ np.exp(-self.gamma * apart) - self.rho)

    @classmethod
    def read(cls, path: Path) -> Regression:
        """The regression that ``convert`` wrote.

        Raises:
            InputError: another file.
        """
        tensors = load_file(path)
        if tensors.keys() != cls.__dataclass_fields__.keys():
            raise InputError(f"{path} is no BRISQUE regression; see {__name__} for how to make it")
        numbers: dict[str, Any] = {n: float(tensors.pop(n)[0]) for n in ("gamma", "rho")}
        return cls(**{**tensors, **numbers})


def convert(model: Path, ranges: Path, out: Path) -> Regression:
    """Writes LIVE's two text files as one file of tensors.

    Raises:
        InputError: not a LIBSVM regression with a radial kernel, or not the ranges of 36 features.
    """
    head, _, body = model.read_text().partition("\nSV\n")
    facts = dict(line.split(" ", 1) for line in head.splitlines() if " " in line)
    if facts.get("svm_type") != "epsilon_svr" or facts.get("kernel_type") != "rbf":
        raise InputError(f"{model} is no LIBSVM regression with a radial kernel; give allmodel")
    lines = [line.split() for line in body.splitlines() if line.strip()]
    support = np.zeros((len(lines), FEATURES))
    for row, line in zip(support, lines, strict=True):
        for entry in line[1:]:
            index, _, value = entry.partition(":")
            row[int(index) - 1] = float(value)
    limits = np.array(_limits(ranges))
    if limits.shape != (FEATURES, 2):
        raise InputError(f"{ranges} does not hold the ranges of 36 features; give allrange")
    found = Regression(
        support,
        np.array([float(line[0]) for line in lines]),
        float(facts["gamma"]),
        float(facts["rho"]),
        np.ascontiguousarray(limits[:, 0]),
        np.ascontiguousarray(limits[:, 1]),
    )
    save_file({name: np.atleast_1d(value) for name, value in vars(found).items()}, out)
    return found


class Brisque:
    """Mean BRISQUE of the output's face crops; lower is better, about 0 to 100. Reference: none.

    Face crops are resampled from the frames, which moves the number by itself; so the source's, in
    the same crops, stands beside it as ``brisque_source``, and only numbers of the same viewing can
    be compared. Papers don't say which pictures theirs were made of.

    Can be fooled by sharpening and by noise that looks like grain; it knows nothing of faces, and
    a smooth, made-up background counts as damage.

    Args:
        store: where the regression's weight lies.
    """

    name = "brisque"
    better: Literal["higher", "lower", "one"] = "lower"
    needs: tuple[str, ...] = (WEIGHT,)
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")

    def __init__(self, store: Store) -> None:
        self._store = store

    @functools.cached_property
    def _regression(self) -> Regression:
        return Regression.read(self._store.locate(WEIGHT))

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``output`` and ``source`` (T,)."""
        judge = self._regression
        return {
            name: np.array([judge.score(features(crop)) for crop in video.crops])
            for name, video in (("output", case.output), ("source", case.source))
        }

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``brisque`` and ``brisque_source``: means over all frames."""
        return {
            "brisque": finite_mean(pooled(rows, "output")),
            "brisque_source": finite_mean(pooled(rows, "source")),
        }


def _limits(ranges: Path) -> list[list[float]]:
    """Lowest and highest of each feature, as svm-scale writes them; nothing where it is not so."""
    lines = [line.split() for line in ranges.read_text().splitlines()[2:]]
    try:
        return [[float(low), float(high)] for _, low, high in lines]
    except ValueError:
        return []


def _eighteen(grey: np.ndarray) -> np.ndarray:
    picture = normalised(grey)
    size = (picture**2).mean()
    found = [_nearest(np.abs(picture).mean() ** 2 / (size + TINY)), size]
    for shift in SHIFTS:
        found += _lopsided(picture * np.roll(picture, shift, (0, 1)))
    return np.array(found)


def _lopsided(values: np.ndarray) -> list[float]:
    """Asymmetric generalised Gaussian by moments: shape, mean, left and right variance."""
    left, right = (float(_mean_square(values[side])) for side in (values < 0, values > 0))
    a, b = np.sqrt(left) + TINY, np.sqrt(right) + TINY
    tilt = a / b
    ratio = np.abs(values).mean() ** 2 / ((values**2).mean() + TINY)
    shape = _nearest(ratio * (tilt**3 + 1) * (tilt + 1) / (tilt**2 + 1) ** 2)
    mean = (b - a) * gamma(2 / shape) / np.sqrt(gamma(1 / shape) * gamma(3 / shape))
    return [shape, float(mean), left, right]


def _mean_square(values: np.ndarray) -> float:
    return float((values**2).mean()) if len(values) else 0.0


@functools.cache
def _ratios() -> tuple[np.ndarray, np.ndarray]:
    """Shapes, and the moments' ratio (E|x|)² / E x² of each."""
    shape = np.arange(0.2, 10.001, 0.001)
    return shape, gamma(2 / shape) ** 2 / (gamma(1 / shape) * gamma(3 / shape))


def _nearest(ratio: float) -> float:
    """The shape whose ratio of moments is nearest."""
    shapes, known = _ratios()
    return float(shapes[np.argmin(np.abs(known - ratio))])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    convert(*map(Path, sys.argv[1:]))
