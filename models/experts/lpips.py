"""LPIPS v0.1 on AlexNet (Zhang et al., CVPR 2018): how unlike two pictures look to people.

Written from the published geometry; torchvision's AlexNet and the five learned weightings of LPIPS
load by their keys.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.experts.published import load_published

TAPS = (1, 4, 7, 9, 11)
"""Layers behind which features are compared: relu1 to relu5."""
WIDTHS = (64, 192, 384, 256, 256)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
UNUSED = frozenset(f"classifier.{i}.{end}" for i in (1, 4, 6) for end in ("weight", "bias"))
LEAST = 32
"""Pixels that a picture needs each way, so that its last level has some."""


class AlexNet(nn.Module):
    """AlexNet's convolutions; keys are those of ``alexnet-owt-7be5be79.pth``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (B,3,H,W), scaled, to five levels (B, WIDTHS, h, w)."""
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                found.append(x)
        return found


class Weighting(nn.Module):
    """What a level's channels count, ``model.1.weight`` as it is published: (B,C,h,w) to
    (B,1,h,w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.model(x)
        return out


class Weightings(nn.Module):
    """All five; keys are those of ``lpips/weights/v0.1/alex.pth``."""

    def __init__(self) -> None:
        super().__init__()
        for i, width in enumerate(WIDTHS):
            self.add_module(f"lin{i}", Weighting(width))

    def forward(self, gaps: list[Tensor]) -> Tensor:
        """Squared gaps of five levels to the distance (B,)."""
        pairs = zip(self.children(), gaps, strict=True)
        return torch.stack([lin(gap).mean((1, 2, 3)) for lin, gap in pairs]).sum(0)


class Lpips(nn.Module):
    """The distance.

    Args:
        alexnet: safetensors file of torchvision's AlexNet.
        lins: safetensors file of the weightings.

    Raises:
        InputError: a file holds something else.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, alexnet: Path, lins: Path) -> None:
        super().__init__()
        self.net = load_published(
            AlexNet, alexnet, "no AlexNet of torchvision; convert alexnet-owt-7be5be79.pth", UNUSED
        )
        self.lins = load_published(
            Weightings, lins, "no weightings of LPIPS v0.1 for AlexNet; convert its alex.pth"
        )
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1), persistent=False)

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """(B,) from pictures (B,3,H,W) in [-1, 1], of 32 px or more each way."""
        assert min(ours.shape[-2:]) >= LEAST, ours.shape
        pairs = zip(self._levels(ours), self._levels(theirs), strict=True)
        out: Tensor = self.lins([(a - b) ** 2 for a, b in pairs])
        return out

    def _levels(self, pictures: Tensor) -> list[Tensor]:
        """Features, each place's vector of length 1."""
        levels = self.net((pictures - self.shift) / self.scale)
        return [x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in levels]
