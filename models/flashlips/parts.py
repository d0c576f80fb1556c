"""What the four stages share: building nets from a card, images as tensors, statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from core.checkpoint import CheckpointRef
from core.errors import InputError
from models.flashlips.fmt import FMT
from models.flashlips.net import Editor, ImageLipsEncoder, LipsEncoder

Net = Mapping[str, Any]


def build(name: str, net: Net) -> nn.Module:
    """A fresh module of the system by the name under which checkpoints keep it.

    Args:
        name: ``editor``, ``lips_encoder``, ``image_encoder`` or ``fmt``.
        net: the recipe's sizes.

    Raises:
        InputError: a size is missing or unknown.
    """
    try:
        if name == "editor":
            return Editor(net["latent"], lips_dim(net), **net["editor"])
        if name == "lips_encoder":
            return LipsEncoder(net["expression"], **net["lips_encoder"])
        if name == "image_encoder":
            return ImageLipsEncoder(lips_dim(net), **net["image_encoder"])
        assert name == "fmt", f"no module {name!r}"
        return FMTWithScale(lips_dim(net), **net["fmt"])
    except (KeyError, TypeError) as error:
        raise InputError(f"net: can't build {name!r} ({error}); compare with the recipe") from error


def lips_dim(net: Net) -> int:
    """Length of the lips vector: main plus residual (Table 5); summed, the longer of both."""
    encoder = net["lips_encoder"]
    lengths = int(encoder["main"]), int(encoder["residual"])
    return max(lengths) if encoder.get("compose") == "sum" else sum(lengths)


class FMTWithScale(nn.Module):
    """The transformer beside the statistics of lips vectors, so that it works at unit variance."""

    def __init__(self, lips: int, **sizes: Any) -> None:
        super().__init__()
        self.net = FMT(lips=lips, **sizes)
        self.register_buffer("mean", torch.zeros(lips))
        self.register_buffer("std", torch.ones(lips))

    def forward(self, *inputs: Any) -> Any:
        """As ``FMT.forward``."""
        return self.net(*inputs)

    def normalise(self, lips: Any) -> Any:
        """Lips vectors to zero mean and unit variance over the training data."""
        return (lips - self.mean) / self.std

    def restore(self, z: Any) -> Any:
        """The inverse of ``normalise``."""
        return z * self.std + self.mean


def load_parts(ref: CheckpointRef, names: Iterable[str]) -> dict[str, nn.Module]:
    """Modules out of a stage's checkpoint, in float32, ready to train or to use.

    Raises:
        InputError: the weights don't fit the card.
    """
    try:
        tensors = load_file(ref.weights)
    except Exception as error:
        raise InputError(f"{ref.weights} is no readable safetensors file ({error})") from error
    parts = {}
    for name in names:
        module = build(name, ref.net)
        mine = {
            k.removeprefix(f"{name}."): v.float()
            for k, v in tensors.items()
            if k.startswith(f"{name}.")
        }
        try:
            module.load_state_dict(mine)
        except RuntimeError as error:
            raise InputError(f"{ref.weights} does not fit its card: {error}") from error
        parts[name] = module
    return parts


def freeze(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, its parameters without gradients."""
    return module.eval().requires_grad_(False)


def images(crops: Any) -> Any:
    """uint8 (B,S,S,3) -> float (B,3,S,S) in [-1,1]."""
    return crops.permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels(x: Any) -> Any:
    """float (B,3,S,S) in [-1,1] -> uint8 (B,S,S,3)."""
    x = (x.clamp(-1, 1) + 1) * 127.5
    return x.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def latent_mask(mask: Any, size: int) -> Any:
    """m: the pixel mask (B,S,S bool) averaged down to the latent grid, (B,1,size,size) in [0,1]."""
    return F.adaptive_avg_pool2d(mask[:, None].float(), size)


class Statistics:
    """Running mean and standard deviation of vectors, over all samples a stage loads."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: Any) -> None:
        """Counts in (N, D)."""
        x = x.double()
        self.count += len(x)
        self.total = self.total + x.sum(0)
        self.squares = self.squares + (x * x).sum(0)

    def mean_std(self, least: float = 1e-4) -> tuple[Any, Any]:
        """(mean, std), each (D,) float32; std at least ``least``."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean * mean).clamp(min=0)
        return mean.float(), variance.sqrt().clamp(min=least).float()
