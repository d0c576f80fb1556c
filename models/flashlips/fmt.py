"""The flow-matching transformer of FlashLips Table A.3 (AdaLN per frame: FLOAT's setting)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def sinusoid(positions: Any, dim: int) -> Any:
    """Fixed sinusoidal code: (N,) -> (N, dim)."""
    half = torch.arange(dim // 2, device=positions.device, dtype=torch.float32)
    angle = positions.float()[:, None] * torch.exp(-math.log(10_000) * half / (dim // 2))
    return torch.cat([angle.sin(), angle.cos()], -1)


class FMTBlock(nn.Module):
    """AdaLN-modulated self-attention and MLP; the modulation starts at zero."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.adaln = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.adaln.weight)
        nn.init.zeros_(self.adaln.bias)

    def forward(self, x: Any, c: Any) -> Any:
        """x, c: (B, T, d) -> (B, T, d)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaln(F.silu(c)).chunk(6, -1)
        b, t, d = x.shape
        h = F.layer_norm(x, (d,)) * (1 + scale_a) + shift_a
        q, k, v = self.qkv(h).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = x + gate_a * self.proj(h)
        h = F.layer_norm(x, (d,)) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(h)


class FMT(nn.Module):
    """Velocity of lips vectors given speech, emotion and K reference lips vectors (Eq. 12).

    Defaults are the paper's size: 155.15 M parameters with K = 4 (Table A.3).

    Args:
        lips: d_w.
        pose: d_p, 0 leaves head pose out.
        audio: d_a.
        emotion: d_e, 0 leaves it out.
        references: K.
        speech: width of the speech encoder's features when they must first be
            projected to ``audio`` (Linear, LayerNorm, SiLU as in FLOAT), else 0.
    """

    def __init__(  # noqa: PLR0913 - one size a row of Table A.3
        self,
        lips: int = 12,
        pose: int = 16,
        audio: int = 512,
        emotion: int = 7,
        references: int = 4,
        dim: int = 1024,
        depth: int = 8,
        heads: int = 8,
        speech: int = 0,
    ) -> None:
        super().__init__()
        self.speech: nn.Module = nn.Identity()
        if speech:
            self.speech = nn.Sequential(nn.Linear(speech, audio), nn.LayerNorm(audio), nn.SiLU())
        self.embed = nn.Linear(lips + pose, dim)
        self.time = nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.condition = nn.Linear(lips * references + audio + emotion, dim)
        self.blocks = nn.ModuleList(FMTBlock(dim, heads) for _ in range(depth))
        self.adaln = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, lips)
        for layer in (self.adaln, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, z_t: Any, t: Any, speech: Any, references: Any, extra: Any = None) -> Any:
        """One evaluation of the velocity.

        Args:
            z_t: (B, T, d_w + d_p), earlier frames first.
            t: (B,) in [0, 1].
            speech: (B, T, D) features at the frames' times.
            references: (B, K * d_w).
            extra: (B, d_e) emotion, when the net has one.

        Returns:
            (B, T, d_w).
        """
        frames, dim = z_t.shape[1], self.out.in_features
        x = self.embed(z_t) + sinusoid(torch.arange(frames, device=z_t.device), dim)
        fixed = references if extra is None else torch.cat([references, extra], -1)
        fixed = fixed[:, None].expand(-1, frames, -1)
        c = self.condition(torch.cat([fixed, self.speech(speech)], -1))
        c = c + self.time(sinusoid(t * 1000, 256))[:, None]
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.adaln(F.silu(c)).chunk(2, -1)
        return self.out(F.layer_norm(x, (dim,)) * (1 + scale) + shift)
