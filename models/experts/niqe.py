"""NIQE after Mittal, Soundararajan & Bovik, "Making a completely blind image quality analyzer"
(2013): how far a picture's local statistics are from natural ones. Lower is better.

Two of them. ``Niqe``'s natural model is our own fit, to photos that open packages carry
(bench/fit_niqe.py), not the authors' (125 photos); its blocks overlap and halving is a 2x2 mean. So
its numbers order pictures but are no published NIQE, and the name says so: ``niqe-fitted@HASH``.
``PublishedNiqe`` is the authors' release with their model, which a person provides:

    python -m models.experts.niqe MODELPARAMETERS.mat weights/niqe_pristine.safetensors

Legend: P = 96 px, a block's side; a feature vector is 36 numbers, 18 at each of two scales.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.io import loadmat
from scipy.special import gamma

from core.errors import InputError
from core.files import atomic
from models.experts.imresize import halved

BLOCK, STRIDE = 96, 32
"""Blocks of a judged picture overlap: a 128 px crop would have only one otherwise."""
SHARP = 0.75
"""The model is fitted to blocks at least this sharp, relative to the photo's sharpest (paper)."""
NATURAL = Path(__file__).parent / "niqe_natural.safetensors"
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours whose products are looked at: right, below and the diagonals."""


@dataclass(frozen=True)
class Natural:
    """A multivariate Gaussian of features: mean (36,) and covariance (36, 36)."""

    mean: np.ndarray
    covariance: np.ndarray


class Niqe:
    """NIQE as a ``QualityExpert``.

    Args:
        model: file of the natural model.
    """

    better = "lower"

    def __init__(self, model: Path = NATURAL) -> None:
        tensors = load_file(model)
        self.natural = Natural(tensors["mean"], tensors["covariance"])
        self.name = f"niqe-fitted@{hashlib.sha256(model.read_bytes()).hexdigest()[:8]}"

    def score(self, picture: np.ndarray) -> float:
        """See ``QualityExpert.score``; pictures below 96 px are enlarged."""
        return _apart(features(picture, STRIDE)[0], self.natural)


class PublishedNiqe:
    """NIQE as LIVE's release computes it: blocks side by side, the rest of the picture cut off.

    Args:
        model: the authors' model, as ``convert`` writes it.
    """

    better = "lower"
    name = "niqe"

    def __init__(self, model: Path) -> None:
        tensors = load_file(model)
        self.natural = Natural(tensors["mean"], tensors["covariance"])

    def score(self, picture: np.ndarray) -> float:
        """See ``QualityExpert.score``.

        Raises:
            InputError: a picture of less than a block.
        """
        grey: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
        height, width = (side // BLOCK * BLOCK for side in grey.shape)
        if not height or not width:
            raise InputError(f"NIQE needs {BLOCK} px each way, not {grey.shape[::-1]}")
        grey = grey[:height, :width]
        one, _ = _blocks(grey, BLOCK, BLOCK)
        two, _ = _blocks(halved(grey), BLOCK // 2, BLOCK // 2)
        return _apart(np.concatenate([_statistics(one), _statistics(two)], 1), self.natural)


def convert(source: Path, out: Path) -> Natural:
    """The authors' model, MATLAB's ``mu_prisparam`` and ``cov_prisparam``, as one file of tensors.

    Raises:
        InputError: another file.
    """
    try:
        found = loadmat(source, variable_names=["mu_prisparam", "cov_prisparam"])
        mean = np.ascontiguousarray(found["mu_prisparam"], np.float64).ravel()
        covariance = np.ascontiguousarray(found["cov_prisparam"], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{source} holds no mu_prisparam and cov_prisparam; give modelparameters.mat of LIVE's "
            "NIQE release"
        ) from error
    if mean.shape != (36,) or covariance.shape != (36, 36):
        raise InputError(f"{source} is a model of {mean.size} numbers, NIQE has 36")
    with atomic(out) as part:
        save_file({"mean": mean, "covariance": covariance}, part)
    return Natural(mean, covariance)


def _apart(found: np.ndarray, natural: Natural) -> float:
    """Distance of features (N, 36) from a natural model (Eq. 10 of the paper)."""
    own = np.cov(found.T) if len(found) > 1 else np.zeros_like(natural.covariance)
    apart = natural.mean - found.mean(0)
    pooled = np.linalg.pinv((natural.covariance + own) / 2)
    return float(np.sqrt(apart @ pooled @ apart))


def fit(pictures: Sequence[np.ndarray]) -> Natural:
    """The model of natural pictures (H, W, 3) uint8 RGB, from their sharp blocks."""
    kept = []
    for picture in pictures:
        found, sharpness = features(picture, BLOCK)
        kept.append(found[sharpness > SHARP * sharpness.max()])
    rows = np.concatenate(kept)
    return Natural(rows.mean(0), np.cov(rows.T))


def features(picture: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of a picture's blocks.

    Args:
        picture: (H, W, 3) uint8 RGB.
        stride: pixels from block to block, even.

    Returns:
        (N, 36) features and (N,) mean local deviation, the blocks' sharpness.
    """
    grey: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64)
    short = min(grey.shape)
    if short < BLOCK:
        grow = BLOCK / short
        grey = cv2.resize(grey, None, fx=grow, fy=grow, interpolation=cv2.INTER_CUBIC)
    grey = grey[: grey.shape[0] // 2 * 2, : grey.shape[1] // 2 * 2]
    half = cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA)
    one, deviation = _blocks(grey, BLOCK, stride)
    two, _ = _blocks(half, BLOCK // 2, stride // 2)
    return np.concatenate([_statistics(one), _statistics(two)], 1), deviation.mean((1, 2))


def _blocks(grey: np.ndarray, side: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks (N, P, P) of the normalised picture (MSCN, Eq. 1 to 3) and of its deviation."""
    mean = cv2.GaussianBlur(grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    square = cv2.GaussianBlur(grey * grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REPLICATE)
    deviation = np.sqrt(np.abs(square - mean * mean))
    normal = (grey - mean) / (deviation + 1)

    def cut(whole: np.ndarray) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(whole, (side, side))
        return views[::stride, ::stride].reshape(-1, side, side)

    return cut(normal), cut(deviation)


def _statistics(blocks: np.ndarray) -> np.ndarray:
    """18 numbers for each block (N, P, P): shape and size of its values, and of products of
    neighbours in four directions (Eq. 4 to 11)."""
    shape, left, right, _ = _aggd(blocks)
    columns = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right, mean = _aggd(blocks * np.roll(blocks, shift, (1, 2)))
        columns += [shape, mean, left, right]
    return np.stack(columns, 1)


@functools.cache
def _ratios() -> tuple[np.ndarray, np.ndarray]:
    """Shapes, and the moments' ratio (E|x|)² / E x² of each."""
    shape = np.arange(0.2, 10.001, 0.001)
    return shape, gamma(2 / shape) ** 2 / (gamma(1 / shape) * gamma(3 / shape))


def _aggd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Asymmetric generalised Gaussian of each block by moments: shape, both scales, mean; (N,)."""
    flat = values.reshape(len(values), -1)
    low, high = np.minimum(flat, 0), np.maximum(flat, 0)
    tiny = 1e-12
    left = np.sqrt((low**2).sum(1) / np.maximum((flat < 0).sum(1), 1)) + tiny
    right = np.sqrt((high**2).sum(1) / np.maximum((flat > 0).sum(1), 1)) + tiny
    tilt = left / right
    ratio = np.abs(flat).mean(1) ** 2 / ((flat**2).mean(1) + tiny)
    ratio = ratio * (tilt**3 + 1) * (tilt + 1) / (tilt**2 + 1) ** 2
    shapes, known = _ratios()
    above = np.clip(np.searchsorted(known, ratio), 1, len(known) - 1)  # the ratio only grows
    nearer = ratio - known[above - 1] <= known[above] - ratio
    shape = shapes[above - nearer]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    left, right = left * scale, right * scale
    return shape, left, right, (right - left) * gamma(2 / shape) / gamma(1 / shape)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
