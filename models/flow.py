"""Optimal-transport conditional flow matching (FlashLips Eq. 10-12) and its Euler solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class PathSample:
    """A point on the straight path from noise to data, in the paper's symbols."""

    z_t: Any
    u: Any


def path_sample(z: Any, noise: Any, t: Any) -> PathSample:
    """``z_t = (1 - t) noise + t z`` and ``u = z - noise`` (Eq. 10, 11).

    Args:
        z: (B, T, D).
        noise: likewise.
        t: (B,) in [0, 1].
    """
    t = t.view(-1, 1, 1)
    return PathSample((1 - t) * noise + t * z, z - noise)


def euler(velocity: Callable[[Any, Any], Any], noise: Any, steps: int) -> Any:
    """Follows ``velocity(z_t, t)`` from t = 0 (noise) to t = 1 in equal Euler steps.

    Args:
        velocity: z_t (B, T, D), t (B,) -> (B, T, D).
        noise: (B, T, D).
        steps: number of evaluations of the velocity.
    """
    z = noise
    for i in range(steps):
        t = torch.full((len(z),), i / steps, device=z.device, dtype=z.dtype)
        z = z + velocity(z, t) / steps
    return z
