"""The UNet of FlashLips Table A.1: no attention, no time embedding, LIFO skips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import checkpointed
from models.blocks.resnet import ResBlock


class UNet(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h, w); h and w divisible by 2 ** (levels - 1).

    Defaults are the paper's size: 211.17 M parameters. The skips are popped last-in first-out,
    which is what makes the table's 1280/1152/896 come out. ``condition`` is the size of a vector
    that every block is told beside its input; the paper's net has none (0).
    """

    def __init__(
        self,
        c_in: int = 52,
        c_out: int = 4,
        channels: Sequence[int] = (384, 512, 640),
        blocks: int = 4,
        mid: int = 2,
        groups: int = 32,
        condition: int = 0,
    ) -> None:
        super().__init__()
        self.checkpointing = False
        block = partial(ResBlock, groups=groups, condition=condition)
        self.conv_in = nn.Conv2d(c_in, channels[0], 3, padding=1)
        skips, c = [channels[0]], channels[0]
        self.down = nn.ModuleList()
        for level, width in enumerate(channels):
            for _ in range(blocks):
                self.down.append(block(c, width))
                c = width
                skips.append(c)
            if level < len(channels) - 1:
                self.down.append(block(c, c, resample="down"))
                skips.append(c)
        self.mid = nn.ModuleList(block(c, c) for _ in range(mid))
        self.up = nn.ModuleList()
        for level, width in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(block(c + skips.pop(), width))
                c = width
            if level > 0:
                self.up.append(block(c, c, resample="up"))
        assert not skips, "every skip is used once"
        self.norm = nn.GroupNorm(groups, c)
        self.conv_out = nn.Conv2d(c, c_out, 3, padding=1)

    def forward(self, x: Any, condition: Any = None) -> Any:
        """One pass; ``condition`` (B, condition) where the net was built for one."""
        x = self.conv_in(x)
        skips = [x]
        for block in self.down:
            x = checkpointed.run(block, self.checkpointing, x, condition)
            skips.append(x)
        for block in self.mid:
            x = checkpointed.run(block, self.checkpointing, x, condition)
        for block in self.up:
            x = x if block.resample == "up" else torch.cat([x, skips.pop()], 1)
            x = checkpointed.run(block, self.checkpointing, x, condition)
        return self.conv_out(F.silu(self.norm(x)))
