"""DINO's ViT-B/16 (Caron et al., ICCV 2021): what a picture shows, as 768 numbers.

Written from the published geometry; ``dino_vitbase16_pretrain.pth`` loads by its keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, PATCH = 224, 16
WIDTH, HEADS, DEPTH = 768, 12, 12
EPS = 1e-6


class Attention(nn.Module):
    """(B,N,C) to the same; queries, keys and values of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        query, key, value = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers with a GELU between. (B,N,C) to the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and MLP, each on what was normalised before. (B,N,C) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(WIDTH, eps=EPS), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH, eps=EPS), Mlp(WIDTH, 4 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Patches(nn.Module):
    """(B,3,H,W) to (B, H/16 W/16, C), without what is left over at the right and below."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return out


class Dino(nn.Module):
    """Pictures (B,3,H,W), normalised as for ImageNet, to (B,768); no side below 16 px."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, (SIDE // PATCH) ** 2 + 1, WIDTH))
        self.patch_embed = Patches()
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(WIDTH, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        tokens = self.patch_embed(x) + self._places(x.shape[2], x.shape[3])
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        out: Tensor = self.norm(self.blocks(torch.cat([first, tokens], 1)))[:, 0]
        return out

    def _places(self, high: int, wide: int) -> Tensor:
        """Where each patch lies, (1,N,C): the square grid, stretched to the picture's."""
        if high == wide == SIDE:
            return self.pos_embed[:, 1:]
        side = SIDE // PATCH
        grid = self.pos_embed[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        # The tenth is the publisher's: it keeps rounding from losing a row, and moves all places.
        scale = [(size // PATCH + 0.1) / side for size in (high, wide)]
        return F.interpolate(grid, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
