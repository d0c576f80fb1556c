"""The InceptionV3 that FID is defined by: TensorFlow's graph of 2015-12-05.

Written from the published geometry; torch-fidelity's ``weights-inception-2015-12-05`` loads by its
keys. It differs from torchvision's net: 1008 classes, average pools that leave out the padding, a
max pool in the last block, and pictures are stretched as TensorFlow 1 did it. A number from other
weights, or from pictures resized otherwise, is no FID.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.experts.published import load_published

SIDE = 299
WIDTHS: dict[str, int] = {
    "64": 64, "192": 192, "768": 768, "2048": 2048, "logits_unbiased": 1008, "logits": 1008,
}  # fmt: skip
"""Features by torch-fidelity's names, and how many numbers each has."""
Kernel = int | tuple[int, int]
Convs = Mapping[str, tuple[int, Kernel] | tuple[int, Kernel, int]]
"""Channels, kernel and stride by name. ``branch_1`` starts a branch, ``branch_2`` goes on with it,
``branch_3a`` and ``branch_3b`` see the same."""


class Conv(nn.Module):
    """Convolution, BatchNorm, ReLU; unpadded where it is strided. (B,I,H,W) -> (B,O,H',W')."""

    def __init__(
        self, wide_in: int, width: int, kernel: Kernel, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        high, across = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (high // 2, across // 2) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(wide_in, width, (high, across), stride, around, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches and a pool side by side. (B,I,H,W) -> (B,O,H,W), or half of H and W.

    Args:
        wide_in: channels.
        convs: the branches.
        pooled: channels of the convolution after the pool; 0 is none, and the pool is strided.
        highest: whether an unstrided pool takes the maximum rather than the mean.
    """

    def __init__(self, wide_in: int, convs: Convs, pooled: int = 0, highest: bool = False) -> None:
        super().__init__()
        self.highest = highest
        self.branches: list[list[list[str]]] = []
        wide = before = wide_in
        for name, made in convs.items():
            width, kernel, stride = made if len(made) == 3 else (*made, 1)
            number = name.partition("_")[2]
            if number.endswith("b"):
                self.branches[-1][-1].append(name)
            elif number in ("", "1"):
                self.branches.append([[name]])
                before = wide_in
            else:
                self.branches[-1].append([name])
                before = wide
            self.add_module(name, Conv(before, width, kernel, stride))
            wide = width
        self.branch_pool = Conv(wide_in, pooled, 1) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        found = []
        for branch in self.branches:
            ends = [x]
            for names in branch:
                ends = [self.get_submodule(name)(ends[0]) for name in names]
            found += ends
        if self.branch_pool is None:
            found.append(F.max_pool2d(x, 3, 2))
        elif self.highest:
            found.append(self.branch_pool(F.max_pool2d(x, 3, 1, 1)))
        else:
            found.append(self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)))
        return torch.cat(found, 1)


def _double(last: int, stride: int = 1) -> Convs:
    return {
        "branch3x3dbl_1": (64, 1),
        "branch3x3dbl_2": (96, 3),
        "branch3x3dbl_3": (last, 3, stride),
    }


def _fine(wide_in: int, pooled: int) -> Mixed:
    sides: Convs = {"branch1x1": (64, 1), "branch5x5_1": (48, 1), "branch5x5_2": (64, 5)}
    return Mixed(wide_in, {**sides, **_double(96)}, pooled)


def _middle(width: int) -> Mixed:
    return Mixed(
        768,
        {
            "branch1x1": (192, 1),
            "branch7x7_1": (width, 1),
            "branch7x7_2": (width, (1, 7)),
            "branch7x7_3": (192, (7, 1)),
            "branch7x7dbl_1": (width, 1),
            "branch7x7dbl_2": (width, (7, 1)),
            "branch7x7dbl_3": (width, (1, 7)),
            "branch7x7dbl_4": (width, (7, 1)),
            "branch7x7dbl_5": (192, (1, 7)),
        },
        192,
    )


def _coarse(wide_in: int, highest: bool) -> Mixed:
    return Mixed(
        wide_in,
        {
            "branch1x1": (320, 1),
            "branch3x3_1": (384, 1),
            "branch3x3_2a": (384, (1, 3)),
            "branch3x3_2b": (384, (3, 1)),
            "branch3x3dbl_1": (448, 1),
            "branch3x3dbl_2": (384, 3),
            "branch3x3dbl_3a": (384, (1, 3)),
            "branch3x3dbl_3b": (384, (3, 1)),
        },
        192,
        highest,
    )


class Inception(nn.Module):
    """Keys and shapes are those of ``weights-inception-2015-12-05-6726825d.pth``."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _fine(192, 32), _fine(256, 64), _fine(288, 64)
        self.Mixed_6a = Mixed(288, {"branch3x3": (384, 3, 2), **_double(96, 2)})
        self.Mixed_6b, self.Mixed_6c = _middle(128), _middle(160)
        self.Mixed_6d, self.Mixed_6e = _middle(160), _middle(192)
        self.Mixed_7a = Mixed(
            768,
            {
                "branch3x3_1": (192, 1),
                "branch3x3_2": (320, 3, 2),
                "branch7x7x3_1": (192, 1),
                "branch7x7x3_2": (192, (1, 7)),
                "branch7x7x3_3": (192, (7, 1)),
                "branch7x7x3_4": (192, 3, 2),
            },
        )
        self.Mixed_7b, self.Mixed_7c = _coarse(1280, False), _coarse(2048, True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Features (B, WIDTHS) by name, from pictures (B,3,H,W) uint8 RGB of any size."""
        assert pictures.dtype == torch.uint8, pictures.dtype
        x = (stretched(pictures.float(), SIDE) - 128) / 128
        one = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        two = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(one)), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(two))))
        three = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        four = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(three))).mean((2, 3))
        unbiased = F.linear(four, self.fc.weight)
        pools = {"64": one, "192": two, "768": three}
        return {name: level.mean((2, 3)) for name, level in pools.items()} | {
            "2048": four,
            "logits_unbiased": unbiased,
            "logits": unbiased + self.fc.bias,
        }


def stretched(x: Tensor, side: int) -> Tensor:
    """(B,C,H,W) to (B,C,side,side), bilinear as TensorFlow 1 had it.

    Place i is read at i H / side, without the half pixel that others add, and nothing is averaged
    when a picture shrinks.
    """
    for axis in (2, 3):
        size = x.shape[axis]
        at = torch.arange(side, dtype=torch.float32, device=x.device) * (size / side)
        low = at.long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        part = (at - low).reshape((-1, 1) if axis == 2 else (-1,))
        first = x.index_select(axis, low)
        x = first + (x.index_select(axis, high) - first) * part
    return x


class FidFeatures(nn.Module):
    """One of the features, as ``torchmetrics``' ``FrechetInceptionDistance(feature=...)`` takes it.

    Args:
        weights: safetensors file with the published keys.
        name: of ``WIDTHS``; FID is defined on 2048.

    Raises:
        InputError: the file holds something else.
    """

    def __init__(self, weights: Path, name: str = "2048") -> None:
        super().__init__()
        self.name, self.num_features = name, WIDTHS[name]
        self.net = load_published(
            Inception, weights, "no InceptionV3 of FID; convert torch-fidelity's .pth file"
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(B,3,H,W) uint8 RGB to (B, num_features)."""
        found: Tensor = self.net(pictures)[self.name]
        return found
