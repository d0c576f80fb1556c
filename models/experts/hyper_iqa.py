"""HyperIQA (Su et al., CVPR 2020): no-reference image quality, 0 (bad) to 100.

A ResNet-50 looks at the picture; from what it sees another net makes the weights of a small one
that gives the score. Written from the published geometry; a published checkpoint loads by its keys.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import InputError
from models.experts.codec import read_tensors

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TARGET = (224, 112, 56, 28, 14)
"""Widths of the small net."""
WIDE, LOCAL = 112, 16


class Bottleneck(nn.Module):
    """ResNet-50's block: 1x1, 3x3 (strided), 1x1, and the shortcut. (B,I,H,W) -> (B,4W,H',W')."""

    def __init__(self, wide_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(wide_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if stride != 1 or wide_in != 4 * width:
            self.downsample: nn.Module = nn.Sequential(
                nn.Conv2d(wide_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class Body(nn.Module):
    """ResNet-50, and what each of its four levels says of local distortion."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.layer1, self.layer2 = _level(64, 64, 3, 1), _level(256, 128, 4, 2)
        self.layer3, self.layer4 = _level(512, 256, 6, 2), _level(1024, 512, 3, 2)
        self.lda1_pool, self.lda1_fc = _pool(256, 16), nn.Linear(1024, LOCAL)
        self.lda2_pool, self.lda2_fc = _pool(512, 32), nn.Linear(512, LOCAL)
        self.lda3_pool, self.lda3_fc = _pool(1024, 64), nn.Linear(256, LOCAL)
        self.lda4_fc = nn.Linear(2048, TARGET[0] - 3 * LOCAL)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,224,224) to the last level (B,2048,7,7) and the small net's input (B,224)."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        one = self.layer1(x)
        two = self.layer2(one)
        three = self.layer3(two)
        four = self.layer4(three)
        told = (
            self.lda1_fc(self.lda1_pool(one).flatten(1)),
            self.lda2_fc(self.lda2_pool(two).flatten(1)),
            self.lda3_fc(self.lda3_pool(three).flatten(1)),
            self.lda4_fc(F.avg_pool2d(four, 7).flatten(1)),
        )
        return four, torch.cat(told, 1)


def _level(wide_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(wide_in, width, stride), *rest)


def _pool(wide_in: int, wide_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, bias=False), nn.AvgPool2d(7, 7))


class HyperIQA(nn.Module):
    """(B,3,224,224), normalised as for ImageNet, to the score (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.res = Body()
        self.conv1 = nn.Sequential(
            nn.Conv2d(2048, 1024, 1), nn.ReLU(), nn.Conv2d(1024, 512, 1), nn.ReLU(),
            nn.Conv2d(512, WIDE, 1), nn.ReLU(),
        )  # fmt: skip
        for i, (wide, narrow) in enumerate(itertools.pairwise(TARGET), 1):
            self.add_module(f"fc{i}w_conv", nn.Conv2d(WIDE, wide * narrow // 49, 3, padding=1))
            self.add_module(f"fc{i}b_fc", nn.Linear(WIDE, narrow))
        self.fc5w_fc, self.fc5b_fc = nn.Linear(WIDE, TARGET[-1]), nn.Linear(WIDE, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        level, told = self.res(x)
        seen = self.conv1(level)
        mean = seen.mean((2, 3))
        for i, (wide, narrow) in enumerate(itertools.pairwise(TARGET), 1):
            weight = getattr(self, f"fc{i}w_conv")(seen).reshape(-1, narrow, wide)
            bias = getattr(self, f"fc{i}b_fc")(mean)
            told = torch.sigmoid(torch.einsum("bnw,bw->bn", weight, told) + bias)
        score: Tensor = (self.fc5w_fc(mean) * told).sum(1) + self.fc5b_fc(mean)[:, 0]
        return score


class HyperIQAExpert:
    """HyperIQA as a ``QualityExpert``: centre crop of 224 px; smaller pictures are enlarged.

    Args:
        weights: safetensors file with the published keys.
        threads: of torch.

    Raises:
        InputError: the file holds something else.
    """

    name, better = "hyper_iqa", "higher"

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self.threads = threads
        net = HyperIQA()
        try:
            net.load_state_dict(read_tensors(weights))
        except RuntimeError as error:
            raise InputError(f"{weights} is no HyperIQA; convert koniq_pretrained.pkl") from error
        self.net = net.eval().requires_grad_(False)

    def score(self, picture: np.ndarray) -> float:
        """See ``QualityExpert.score``."""
        short = min(picture.shape[:2])
        if short < SIDE:
            size = (max(SIDE, picture.shape[1] * SIDE // short),
                    max(SIDE, picture.shape[0] * SIDE // short))  # fmt: skip
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        top, left = (picture.shape[0] - SIDE) // 2, (picture.shape[1] - SIDE) // 2
        middle = picture[top : top + SIDE, left : left + SIDE].astype(np.float32) / 255
        given = (middle - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                return float(self.net(torch.from_numpy(given).permute(2, 0, 1)[None])[0])
        finally:
            torch.set_num_threads(before)
