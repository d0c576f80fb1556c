"""CLIP's view of pictures (Radford et al., ICML 2021), ViT-B/32 and ViT-L/14.

Written from the published geometry; ``model.safetensors`` of huggingface.co/openai/clip-vit-* load
by their keys, the half that reads text left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 224
UNUSED = frozenset(
    {"text_model.", "text_projection.weight", "logit_scale"}
    | {"vision_model.embeddings.position_ids"}
)
"""Keys, and beginnings of keys, that a published file has besides."""


@dataclass(frozen=True)
class Tower:
    """A net's sizes: channels, heads, layers, pixels of a patch, numbers a picture."""

    width: int
    heads: int
    depth: int
    patch: int
    numbers: int


TOWERS = {
    "clip_vit_b32": Tower(768, 12, 12, 32, 512),
    "clip_vit_l14": Tower(1024, 16, 24, 14, 768),
}
"""By the name of the registered weight."""


class Attention(nn.Module):
    """(B,N,C) to the same."""

    out_proj: nn.Module

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.heads = size.heads
        for name in ("q", "k", "v", "out"):
            self.add_module(f"{name}_proj", nn.Linear(size.width, size.width))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        query, key, value = (
            self.get_submodule(f"{name}_proj")(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for name in "qkv"
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers with CLIP's quick GELU between. (B,N,C) to the same."""

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.width, 4 * size.width)
        self.fc2 = nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.fc1(x)
        out: Tensor = self.fc2(x * torch.sigmoid(1.702 * x))
        return out


class Layer(nn.Module):
    """Attention and MLP, each on what was normalised before. (B,N,C) to the same."""

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(size.width), Attention(size)
        self.layer_norm2, self.mlp = nn.LayerNorm(size.width), Mlp(size)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    """Patches with their places, the class token first: (B,3,224,224) to (B,N,C)."""

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(size.width))
        self.patch_embedding = nn.Conv2d(3, size.width, size.patch, size.patch, bias=False)
        self.position_embedding = nn.Embedding((SIDE // size.patch) ** 2 + 1, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        patches = self.patch_embedding(x).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(x), 1, -1)
        return torch.cat([first, patches], 1) + self.position_embedding.weight


class Encoder(nn.Module):
    """All layers. (B,N,C) to the same."""

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer(size) for _ in range(size.depth)))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.layers(x)
        return out


class Vision(nn.Module):
    """(B,3,224,224) to (B,C)."""

    def __init__(self, size: Tower) -> None:
        super().__init__()
        self.embeddings, self.encoder = Embeddings(size), Encoder(size)
        self.pre_layrnorm = nn.LayerNorm(size.width)  # the publisher's spelling
        self.post_layernorm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.encoder(self.pre_layrnorm(self.embeddings(x)))
        out: Tensor = self.post_layernorm(x[:, 0])
        return out


class ClipVision(nn.Module):
    """Pictures (B,3,224,224), normalised by CLIP's mean and deviation, to (B, numbers)."""

    def __init__(self, name: str) -> None:
        super().__init__()
        size = TOWERS[name]
        self.vision_model = Vision(size)
        self.visual_projection = nn.Linear(size.width, size.numbers, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.visual_projection(self.vision_model(x))
        return out


class AestheticHead(nn.Linear):
    """LAION's ``sa_0_4_vit_l_14_linear.pth``: ViT-L/14's vectors of length 1, (B,768), to a score
    (B,1), about 1 to 10."""

    def __init__(self) -> None:
        super().__init__(768, 1)
