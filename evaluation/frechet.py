"""The Fréchet distance between two sets of vectors, taken as Gaussians: what FID and FVD are.

d² = |m - m'|² + tr(C + C' - 2 (C C')^½)   (Heusel et al. 2017, Eq. 6)

Covariances are never formed. With C = AᵀA and C' = BᵀB the trace of the root is the sum of the
singular values of A Bᵀ. It stays exact where C C' is singular (fewer vectors than numbers in each):
there the usual root is noise in half of its digits, and others add 1e-6 to the diagonals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.errors import InputError


@dataclass(frozen=True)
class Frechet:
    """A distance.

    Attributes:
        value: d², 0 for the same Gaussians.
        note: what a reader must know beside the value, "" when there is nothing.
    """

    value: float
    note: str


def frechet(ours: np.ndarray, theirs: np.ndarray) -> Frechet:
    """Fréchet distance of vectors (N,D) from vectors (M,D), in float64.

    Samples always make it too high, the fewer the more. With N or M not above D a covariance is
    singular: the value is right for the Gaussians that were found, but says more of how many
    vectors there are than of how far they lie apart. Then there is a note.

    Raises:
        InputError: vectors of two lengths, fewer than two of them, or numbers that are not finite.
    """
    for name, vectors in (("ours", ours), ("theirs", theirs)):
        if vectors.ndim != 2 or len(vectors) < 2:
            raise InputError(
                f"{name} are vectors of shape {vectors.shape}; a Fréchet distance needs two or "
                "more, (N, D): take more frames or clips"
            )
        if not np.isfinite(vectors).all():
            raise InputError(f"{name} hold numbers that are not finite; look at what made them")
    if ours.shape[1] != theirs.shape[1]:
        raise InputError(
            f"vectors of {ours.shape[1]} and of {theirs.shape[1]} numbers can't be compared; "
            "take both from the same net"
        )
    (mean, a), (other, b) = _gaussian(ours), _gaussian(theirs)
    shared = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    apart = float(((mean - other) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * shared)
    return Frechet(max(apart, 0.0), too_few(len(ours), len(theirs), ours.shape[1]))


def _gaussian(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,), and A (K,D), K no more than D, with AᵀA the unbiased covariance."""
    vectors = vectors.astype(np.float64)
    mean = vectors.mean(0)
    spread = (vectors - mean) / np.sqrt(len(vectors) - 1)
    if len(vectors) > vectors.shape[1]:
        spread = np.linalg.qr(spread, mode="r")
    return mean, spread


def too_few(ours: int, theirs: int, numbers: int) -> str:
    """What to know of a distance of so many vectors with so many numbers each; "" is nothing."""
    if min(ours, theirs) > numbers:
        return ""
    return (
        f"{ours} and {theirs} vectors of {numbers} numbers: too few for a covariance, so the value "
        f"is far too high; compare it only with values from just as many"
    )
