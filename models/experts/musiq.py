"""MUSIQ (Ke et al., ICCV 2021): no-reference image quality from patches at three sizes.

Written from the published geometry; pyiqa's ``musiq_spaq_ckpt-358bb6af.pth`` loads by its keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.experts.dino import Mlp

PATCH, ROOT = 32, 64
WIDTH, HEADS, DEPTH, INNER = 384, 6, 14, 1152
GRID = 10
"""Places each way that a picture of any size is hashed to."""
LONGER = (224, 384)
"""Longer sides that a picture is brought to; then comes its own size."""
EPS = 1e-6


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros around (B,C,H,W) as TensorFlow's SAME has them: the odd one at the right and below."""
    sides = []
    for size in (x.shape[3], x.shape[2]):
        more = (-(-size // stride) - 1) * stride + kernel - size
        sides += [more // 2, more - more // 2]
    return F.pad(x, sides)


class StdConv(nn.Conv2d):
    """A convolution whose weights are standardised, padded as SAME."""

    def forward(self, x: Tensor) -> Tensor:
        """(B,I,H,W) to (B,O,H',W')."""
        axes = (1, 2, 3)
        weight = self.weight - self.weight.mean(axes, keepdim=True)
        weight = weight / (weight.std(axes, keepdim=True) + 1e-5)
        return F.conv2d(
            same(x, self.kernel_size[0], self.stride[0]), weight, None, self.stride[0]
        )  # fmt: skip


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut. (B,64,H,W) to (B,256,H,W)."""

    conv1: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv_proj: nn.Module
    gn1: nn.Module
    gn2: nn.Module
    gn3: nn.Module
    gn_proj: nn.Module

    def __init__(self) -> None:
        super().__init__()
        wide = 4 * ROOT
        for name, given, made, kernel in (
            ("1", ROOT, ROOT, 1), ("2", ROOT, ROOT, 3), ("3", ROOT, wide, 1),
            ("_proj", ROOT, wide, 1),
        ):  # fmt: skip
            self.add_module(f"conv{name}", StdConv(given, made, kernel, bias=False))
            self.add_module(f"gn{name}", nn.GroupNorm(32, made, eps=1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        shortcut = self.gn_proj(self.conv_proj(x))
        x = F.relu(self.gn1(self.conv1(x)))
        x = F.relu(self.gn2(self.conv2(x)))
        return F.relu(self.gn3(self.conv3(x)) + shortcut)


class Attention(nn.Module):
    """(B,N,C) to the same."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    out: nn.Module

    def __init__(self) -> None:
        super().__init__()
        for name in ("query", "key", "value", "out"):
            self.add_module(name, nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        parts = (self.query(x), self.key(x), self.value(x))
        split = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts]
        mixed = F.scaled_dot_product_attention(*split)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention and MLP, each on what was normalised before. (B,N,C) to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH, eps=EPS), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH, eps=EPS), Mlp(WIDTH, INNER)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Table(nn.Module):
    """Vectors that are added by number, under the name that is published."""

    def __init__(self, name: str, *shape: int) -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.zeros(*shape)))

    def forward(self, which: Tensor) -> Tensor:
        """Numbers (N,) to (N,C)."""
        return self.get_parameter(self.name).flatten(0, -2)[which]


class Encoder(nn.Module):
    """Patches with their places and sizes to what the class token has learned of them."""

    def __init__(self) -> None:
        super().__init__()
        self.posembed_input = Table("position_emb", 1, GRID**2, WIDTH)
        self.scaleembed_input = Table("scale_emb", len(LONGER) + 1, WIDTH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.encoder_norm = nn.LayerNorm(WIDTH, eps=EPS)
        self.transformer = nn.ModuleDict({f"encoderblock_{i}": Block() for i in range(DEPTH)})

    def forward(self, x: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        """(B,N,C), (N,), (N,) to (B,C)."""
        x = x + self.posembed_input(places) + self.scaleembed_input(sizes)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.transformer.values():
            x = block(x)
        out: Tensor = self.encoder_norm(x)[:, 0]
        return out


class Musiq(nn.Module):
    """Pictures (B,3,H,W) in [0, 1], all of one size, to scores (B,), 0 to 100."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_root = StdConv(3, ROOT, 7, 2, bias=False)
        self.gn_root = nn.GroupNorm(32, ROOT, eps=EPS)
        self.block1 = Bottleneck()
        self.embedding = nn.Linear(4 * ROOT * (PATCH // 4) ** 2, WIDTH)
        self.transformer_encoder = Encoder()
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        found = [views(2 * x - 1, size) for size in (*LONGER, None)]
        patches = torch.cat([each[0] for each in found], 1)
        places = torch.cat([each[1] for each in found])
        sizes = torch.cat([torch.full_like(each[1], i) for i, each in enumerate(found)])
        seen = self._seen(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        out: Tensor = self.head(self.transformer_encoder(seen, places, sizes))[:, 0]
        return out

    def _seen(self, x: Tensor) -> Tensor:
        """Patches (N,3,32,32) to (N,C)."""
        x = F.relu(self.gn_root(self.conv_root(x)))
        x = self.block1(F.max_pool2d(same(x, 3, 2), 3, 2))
        out: Tensor = self.embedding(x.permute(0, 2, 3, 1).flatten(1))  # channels last, as in JAX
        return out


def views(x: Tensor, longer: int | None) -> tuple[Tensor, Tensor]:
    """Patches (B,N,3,32,32) of pictures brought to a longer side, and their hashed places (N,).

    The published net fills shorter lists with patches that nothing attends to; here are none.
    """
    if longer is not None:
        scale = longer / max(x.shape[2:])
        size = [round(side * scale) for side in x.shape[2:]]
        x = F.interpolate(x, size, mode="bicubic", align_corners=False)
    rows, columns = (
        torch.arange(n, device=x.device) * GRID // n for n in (-(-s // PATCH) for s in x.shape[2:])
    )
    x = F.unfold(same(x, PATCH, PATCH), PATCH, stride=PATCH)
    patches = x.transpose(1, 2).unflatten(2, (3, PATCH, PATCH))
    return patches, (rows[:, None] * GRID + columns).flatten()
