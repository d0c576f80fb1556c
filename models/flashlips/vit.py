"""The transformer of FlashLips Table A.2: a token for each latent cell, no convolution over 1x1."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import checkpointed
from models.flashlips.fmt import sinusoid


def positions(rows: int, columns: int, dim: int, device: Any = None) -> Any:
    """Sine and cosine codes of a grid, half of the channels for each axis: (rows*columns, dim).

    Table A.2 has no code at all, and attention without one cannot tell places apart.
    """
    y = sinusoid(torch.arange(rows, device=device), dim // 2)
    x = sinusoid(torch.arange(columns, device=device), dim // 2)
    grid = torch.cat(
        [y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], -1
    )  # (rows, columns, dim)
    return grid.reshape(rows * columns, dim)


class TransformerBlock(nn.Module):
    """LayerNorm, self-attention; LayerNorm, GEGLU MLP of 4x (Table A.2). (B, N, d) -> (B, N, d)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, 8 * dim)
        self.mlp_out = nn.Linear(4 * dim, dim)

    def forward(self, x: Any) -> Any:
        """One block."""
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + self.proj(h)
        value, gate = self.mlp_in(self.norm2(x)).chunk(2, -1)
        return x + self.mlp_out(value * F.gelu(gate))


class ViT(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h, w), any h and w.

    Defaults are the paper's size: 268.94 M parameters; positions are fixed and cost none.
    """

    def __init__(
        self,
        c_in: int = 52,
        c_out: int = 4,
        narrow: int = 128,
        dim: int = 1024,
        depth: int = 16,
        heads: int = 16,
        groups: int = 32,
    ) -> None:
        super().__init__()
        self.checkpointing = False
        self.conv_in = nn.Conv2d(c_in, narrow, 1)
        self.norm = nn.GroupNorm(groups, narrow)
        self.lift = nn.Conv2d(narrow, dim, 1)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))
        self.lower = nn.Conv2d(dim, narrow, 1)
        self.conv_out = nn.Conv2d(narrow, c_out, 1)

    def forward(self, x: Any) -> Any:
        """One pass."""
        grid = self.lift(self.norm(self.conv_in(x)))
        _, dim, rows, columns = grid.shape
        # In the weights' type: under autocast, where they are float32, tokens stay float32.
        places = positions(rows, columns, dim, x.device).to(self.conv_in.weight.dtype)
        tokens = grid.flatten(2).transpose(1, 2) + places
        for block in self.blocks:
            tokens = checkpointed.run(block, self.checkpointing, tokens)
        return self.conv_out(self.lower(tokens.transpose(1, 2).unflatten(2, (rows, columns))))
