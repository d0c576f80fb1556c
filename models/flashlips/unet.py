"""The UNet of FlashLips Table A.1: no attention, no time embedding, LIFO skips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks.resnet import ResBlock


class UNet(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h, w); h and w divisible by 2 ** (levels - 1).

    Defaults are the paper's size: 211.17 M parameters. The skips are popped last-in first-out,
    which is what makes the table's 1280/1152/896 come out.
    """

    def __init__(
        self,
        c_in: int = 52,
        c_out: int = 4,
        channels: Sequence[int] = (384, 512, 640),
        blocks: int = 4,
        mid: int = 2,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(c_in, channels[0], 3, padding=1)
        skips, c = [channels[0]], channels[0]
        self.down = nn.ModuleList()
        for level, width in enumerate(channels):
            for _ in range(blocks):
                self.down.append(ResBlock(c, width, groups))
                c = width
                skips.append(c)
            if level < len(channels) - 1:
                self.down.append(ResBlock(c, c, groups, "down"))
                skips.append(c)
        self.mid = nn.Sequential(*(ResBlock(c, c, groups) for _ in range(mid)))
        self.up = nn.ModuleList()
        for level, width in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(ResBlock(c + skips.pop(), width, groups))
                c = width
            if level > 0:
                self.up.append(ResBlock(c, c, groups, "up"))
        assert not skips, "every skip is used once"
        self.norm = nn.GroupNorm(groups, c)
        self.conv_out = nn.Conv2d(c, c_out, 3, padding=1)

    def forward(self, x: Any) -> Any:
        """One pass."""
        x = self.conv_in(x)
        skips = [x]
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.mid(x)
        for block in self.up:
            x = block(x if block.resample else torch.cat([x, skips.pop()], 1))
        return self.conv_out(F.silu(self.norm(x)))
