"""TAEF2: a tiny autoencoder for the 32-channel, stride-8 latent space of FLUX.2.

The layout is read off the published tensors (64 channels everywhere, three downsamplings, a
squeeze of 1x1 convs with group normalisation in the blocks at latent resolution). Pixels are in
[0, 1] inside; latents are clamped softly at +-3 before decoding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = 32
WIDTH = 64


class Block(nn.Module):
    """Three 3x3 convs with a residual, and in the latent-resolution blocks a global 1x1 branch.

    Args:
        width: channels in and out.
        pooled: add the 1x1 branch, whose group normalisation sees the whole picture.
    """

    def __init__(self, width: int = WIDTH, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.GroupNorm(4, 4 * width),
                nn.ReLU(),
                nn.Conv2d(4 * width, width, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,width,H,W) to the same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class SoftClamp(nn.Module):
    """Keeps latents within +-3 without a kink."""

    def forward(self, z: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return torch.tanh(z / 3) * 3


def _down() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _up() -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)]


def _blocks(count: int, pooled: bool = False) -> list[nn.Module]:
    return [Block(pooled=pooled) for _ in range(count)]


class Taef2(nn.Module):
    """The published net; ``encoder`` and ``decoder`` take the published names of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, padding=1),
            Block(),
            _down(),
            *_blocks(3),
            _down(),
            *_blocks(3),
            _down(),
            *_blocks(3, pooled=True),
            nn.Conv2d(WIDTH, CHANNELS, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            SoftClamp(),
            nn.Conv2d(CHANNELS, WIDTH, 3, padding=1),
            nn.ReLU(),
            *_blocks(3, pooled=True),
            *_up(),
            *_blocks(3),
            *_up(),
            *_blocks(3),
            *_up(),
            *_blocks(1),
            nn.Conv2d(WIDTH, 3, 3, padding=1),
        )

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in [-1,1] to the published latents (B,32,H/8,W/8)."""
        return self.encoder(x * 0.5 + 0.5)

    def decode(self, z: Tensor) -> Tensor:
        """Published latents (B,32,h,w) to pixels (B,3,8h,8w), about [-1,1]."""
        return self.decoder(z) * 2 - 1
