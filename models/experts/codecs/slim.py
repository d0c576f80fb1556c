"""The slim codec: TAEF2's latents at a quarter of its cost, for a CPU.

TAEF2 spends nine tenths of its work at full and half resolution. The slim encoder goes from pixels
to quarter resolution by one pixel-unshuffle and a small stem; the slim decoder ends at half
resolution with a pixel-shuffle. What remains, the stages at a quarter and an eighth of the
resolution, is TAEF2's own layout, so training can start from its tensors.

At 128 x 128: encoder 1.2 GFLOP, decoder 2.3 GFLOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from models.experts.codecs.taef2 import CHANNELS, WIDTH, Block, SoftClamp, Taef2

LATENT_SCALE = 1.2
"""Slim and TAEF2 latents leave ``encode`` times this, which brings faces to about unit spread."""

FIRST_ENCODER_LAYER = 7
"""The slim encoder takes TAEF2's encoder over from this layer on, at quarter resolution."""


class Slim(nn.Module):
    """Slim encoder and decoder.

    Args:
        stem: channels of the encoder's first layer.
        half_blocks: residual blocks of the decoder at half resolution.
    """

    def __init__(self, stem: int = WIDTH, half_blocks: int = 1) -> None:
        super().__init__()
        self.sizes: Mapping[str, Any] = {"stem": stem, "half_blocks": half_blocks}
        self.encoder = nn.ModuleDict(
            {
                "stem": nn.Sequential(
                    nn.PixelUnshuffle(4),
                    nn.Conv2d(48, stem, 3, padding=1),
                    nn.ReLU(),
                    *([nn.Conv2d(stem, WIDTH, 1), nn.ReLU()] if stem != WIDTH else []),
                    Block(),
                ),
                "trunk": nn.Sequential(
                    *(Block() for _ in range(3)),
                    nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False),
                    *(Block(pooled=True) for _ in range(3)),
                    nn.Conv2d(WIDTH, CHANNELS, 3, padding=1),
                ),
            }
        )
        self.decoder = nn.ModuleDict(
            {
                "trunk": nn.Sequential(
                    SoftClamp(),
                    nn.Conv2d(CHANNELS, WIDTH, 3, padding=1),
                    nn.ReLU(),
                    *(Block(pooled=True) for _ in range(3)),
                    nn.Upsample(scale_factor=2),
                    nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
                    *(Block() for _ in range(3)),
                    nn.Upsample(scale_factor=2),
                    nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False),
                    *(Block() for _ in range(half_blocks)),
                ),
                "head": nn.Sequential(nn.Conv2d(WIDTH, 12, 3, padding=1), nn.PixelShuffle(2)),
            }
        )

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in [-1,1] to TAEF2's latents (B,32,H/8,W/8), unscaled."""
        return self.encoder["trunk"](self.encoder["stem"](x))

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B,32,h,w), unscaled, to pixels (B,3,8h,8w), about [-1,1]."""
        return self.decoder["head"](self.decoder["trunk"](z))

    def start_from(self, teacher: Taef2) -> None:
        """Takes over the teacher's tensors for every layer the two have in common."""
        pairs = (
            (self.encoder["trunk"], list(teacher.encoder)[FIRST_ENCODER_LAYER:]),
            (self.decoder["trunk"], list(teacher.decoder)),
        )
        for own, layers in pairs:
            # A fresh Sequential counts from 0: a slice would keep the teacher's numbers.
            shared = nn.Sequential(*layers[: len(list(own.children()))])
            own.load_state_dict(shared.state_dict())
