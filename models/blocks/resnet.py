"""Residual blocks, and an image ResNet with GroupNorm (batches here are small)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from torch import nn

Resample = Literal["down", "up"] | None


class ResBlock(nn.Module):
    """GN, SiLU, conv 3x3, GN, SiLU, conv 3x3 with a residual (FlashLips Table A.1, ResNet2D).

    ``resample`` works on both branches before the first convolution: 2x2 average pooling down,
    nearest neighbour up. (B, c_in, H, W) -> (B, c_out, H', W'). With ``condition`` > 0 a vector of
    that size scales and shifts the channels after the second norm (FiLM; fresh, it does nothing).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        groups: int = 32,
        resample: Resample = None,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1 = nn.GroupNorm(groups, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.film = nn.Linear(condition, 2 * c_out) if condition else None
        if self.film is not None:
            nn.init.zeros_(self.film.weight)
            nn.init.zeros_(self.film.bias)

    def forward(self, x: Any, condition: Any = None) -> Any:
        """One block; ``condition`` (B, condition) where the block was built for one."""
        h = F.silu(self.norm1(x))
        if self.resample == "down":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        elif self.resample == "up":
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv1(h)
        h = self.norm2(h)
        if self.film is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        h = self.conv2(F.silu(h))
        return self.skip(x) + h


def _shortcut(c_in: int, c_out: int, stride: int, groups: int) -> nn.Module:
    """What a ResNet's block adds its input by: the input itself where shapes agree."""
    if stride == 1 and c_in == c_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.GroupNorm(groups, c_out))


class BasicBlock(nn.Module):
    """The two-convolution block of ResNet-18/34, with GroupNorm for BatchNorm."""

    def __init__(self, c_in: int, c_out: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(groups, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(groups, c_out)
        self.skip = _shortcut(c_in, c_out, stride, groups)

    def forward(self, x: Any) -> Any:
        """One block."""
        h = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.skip(x) + self.norm2(self.conv2(h)))


class Bottleneck(nn.Module):
    """The three-convolution block of ResNet-50, four times as wide outside; GroupNorm."""

    def __init__(self, c_in: int, width: int, stride: int, groups: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.norm1 = nn.GroupNorm(groups, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm2 = nn.GroupNorm(groups, width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.norm3 = nn.GroupNorm(groups, out)
        self.skip = _shortcut(c_in, out, stride, groups)

    def forward(self, x: Any) -> Any:
        """One block."""
        h = F.relu(self.norm1(self.conv1(x)))
        h = F.relu(self.norm2(self.conv2(h)))
        return F.relu(self.skip(x) + self.norm3(self.conv3(h)))


class ResNet(nn.Module):
    """Image -> vector. ``layers`` (2,2,2,2) is ResNet-18, (3,4,6,3) is ResNet-34, at ``width`` 64.

    With ``bottleneck`` blocks (3,4,6,3) is ResNet-50. (B, 3, H, W) in [-1, 1] -> (B, out).
    """

    def __init__(
        self,
        out: int,
        layers: Sequence[int] = (2, 2, 2, 2),
        width: int = 64,
        groups: int = 8,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.norm = nn.GroupNorm(groups, width)
        blocks: list[nn.Module] = []
        c = width
        for level, count in enumerate(layers):
            for i in range(count):
                stride = 2 if level > 0 and i == 0 else 1
                if bottleneck:
                    blocks.append(Bottleneck(c, width << level, stride, groups))
                    c = 4 * (width << level)
                else:
                    blocks.append(BasicBlock(c, width << level, stride, groups))
                    c = width << level
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(c, out)

    def forward(self, x: Any) -> Any:
        """Images to vectors."""
        h = F.max_pool2d(F.relu(self.norm(self.stem(x))), 3, 2, 1)
        return self.head(self.blocks(h).mean((2, 3)))
