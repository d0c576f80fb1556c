"""Perceptual losses of FlashLips: features of frozen nets, compared (Eq. 7 and 8).

Pixels come in [-1, 1]. The backbones' weights are foreign: ``flashlips weights status`` says how to
get them. Which layers are compared, and that they weigh alike, is ours: the paper names neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from core.errors import InputError
from core.weights import Store
from models.losses.l1 import mae


class VGG19(nn.Module):
    """phi of Eq. 7: VGG-19 up to conv5_1, its five maps relu1_1 to relu5_1; torchvision's keys.

    (B,3,H,W) in [-1,1] -> five maps. ``width`` 64 is the published size.
    """

    taps = (1, 6, 11, 20, 29)

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c = 3
        for level, convolutions in enumerate((2, 2, 4, 4, 1)):
            for _ in range(convolutions):
                out = width * min(2**level, 8)
                layers += [nn.Conv2d(c, out, 3, padding=1), nn.ReLU()]
                c = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", _channels(0.485, 0.456, 0.406), persistent=False)
        self.register_buffer("std", _channels(0.229, 0.224, 0.225), persistent=False)

    def forward(self, x: Any) -> list[Any]:
        """Maps from shallow to deep."""
        h, found = ((x + 1) / 2 - self.mean) / self.std, []
        for i, layer in enumerate(self.features):
            h = layer(h)
            if i in self.taps:
                found.append(h)
        return found


class Bottleneck(nn.Module):
    """ResNet-50's block, with the stride in its first convolution, as in Caffe."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or c_in != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Any) -> Any:
        """One block."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(h)))))
        return F.relu(h + self.downsample(x))


class VGGFace2(nn.Module):
    """psi of Eq. 8: the ResNet-50 of VGGFace2 (Caffe's layout), its stem and four stages.

    (B,3,H,W) in [-1,1] -> five maps, of the face at 224 px. ``width`` 64 is the published size.
    Written from the published layout; never run on the published weights.
    """

    side = 224

    def __init__(self, width: int = 64, blocks: Sequence[int] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c = width
        for level, count in enumerate(blocks):
            stage: list[nn.Module] = []
            for i in range(count):
                stage.append(Bottleneck(c, width << level, 2 if level and i == 0 else 1))
                c = 4 * (width << level)
            self.add_module(f"layer{level + 1}", nn.Sequential(*stage))
        self.register_buffer("mean", _channels(91.4953, 103.8827, 131.0912), persistent=False)

    def train(self, mode: bool = True) -> VGGFace2:
        """Stays in evaluation mode: its statistics are those it was trained with."""
        return super().train(False)

    def forward(self, x: Any) -> list[Any]:
        """Maps from shallow to deep."""
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        x = (x.flip(1) + 1) * 127.5 - self.mean  # blue, green, red in [0, 255]
        h = F.relu(self.bn1(self.conv1(x)))
        found = [h]
        h = F.max_pool2d(h, 3, 2, ceil_mode=True)
        for level in range(1, 5):
            h = getattr(self, f"layer{level}")(h)
            found.append(h)
        return found


BACKBONES: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "vgg": ("vgg19", VGG19),
    "vgg_face": ("vggface2_resnet50", VGGFace2),
}
"""Loss term -> (name of the weights, net)."""


def load_backbone(term: str, store: Store) -> nn.Module:
    """The frozen net of a perceptual term.

    Raises:
        InputError: no such term; its weights are missing or of another net.
    """
    if term not in BACKBONES:
        raise InputError(f"no perceptual term {term!r}; there are {', '.join(BACKBONES)}")
    name, make = BACKBONES[term]
    path = store.locate(name)
    net, tensors = make(), load_file(path)
    wanted = net.state_dict().keys()
    try:
        # What the net has and a loss does not need (its classifier) stays behind.
        net.load_state_dict({k: v.float() for k, v in tensors.items() if k in wanted})
    except RuntimeError as error:
        raise InputError(f"{path} is no {name}: convert the file that was published") from error
    return net.eval().requires_grad_(False)


def perceptual(backbone: nn.Module, x: Any, target: Any) -> Any:
    """Sum over layers of MAE of features (Eq. 7, 8).

    Args:
        backbone: frozen; pixels to a list of maps.
        x: (B,3,H,W) in [-1,1]; gradients flow to it.
        target: likewise, without.

    Returns:
        Scalar.
    """
    with torch.no_grad():
        wanted = backbone(target)
    pairs = zip(backbone(x), wanted, strict=True)
    return torch.stack([mae(a - b) for a, b in pairs]).sum()


def _channels(*values: float) -> Any:
    return torch.tensor(values).view(3, 1, 1)
