"""How alike each place of one picture's features is to each place of another's; what RAFT and AMT
have in common."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 128
"""Pixels that a picture needs each way: its features, an eighth of it, are halved three times and
then still have two places."""


def grid(like: Tensor) -> Tensor:
    """Places (1,2,h,w) of a tensor (B,C,h,w), x first."""
    rows, columns = (torch.arange(n, device=like.device).float() for n in like.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None]


def sampled(x: Tensor, at: Tensor, beyond: str = "zeros") -> Tensor:
    """Values of (B,C,H,W) at places (B,h,w,2) in its pixels, x first, bilinear."""
    ends = torch.tensor([x.shape[3] - 1, x.shape[2] - 1], device=x.device)
    return F.grid_sample(x, 2 * at / ends - 1, padding_mode=beyond, align_corners=True)


def moved(x: Tensor, flow: Tensor) -> Tensor:
    """(B,C,H,W) as seen ``flow`` (B,2,H,W) pixels away; its rim goes on beyond it."""
    return sampled(x, (grid(flow) + flow).permute(0, 2, 3, 1), "border")


class Correlation:
    """Correlations of two feature maps (B,C,h,w), at several scales of the second.

    Args:
        ours: the first. theirs: the second.
        levels: scales, each half of the one before.
        radius: places looked at around the one that is asked for.
    """

    def __init__(self, ours: Tensor, theirs: Tensor, levels: int, radius: int) -> None:
        assert 8 * min(ours.shape[2:]) >= LEAST, ours.shape
        size = ours.shape[2:]
        alike = ours.flatten(2).transpose(1, 2) @ theirs.flatten(2) / ours.shape[1] ** 0.5
        self._pyramid = [alike.reshape(-1, 1, *size)]
        for _ in range(levels - 1):
            self._pyramid.append(F.avg_pool2d(self._pyramid[-1], 2))
        steps = torch.arange(-radius, radius + 1, device=ours.device).float()
        # The published window is turned: its rows step along x. The weights were learned so.
        self._window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)

    def __call__(self, at: Tensor) -> Tensor:
        """Around places (B,2,h,w) of the second: (B, levels (2 radius + 1)^2, h, w)."""
        count, _, high, wide = at.shape
        middle = at.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        found = [
            sampled(level, middle / 2**i + self._window).reshape(count, high, wide, -1)
            for i, level in enumerate(self._pyramid)
        ]
        return torch.cat(found, -1).permute(0, 3, 1, 2)
