"""AMT-S (Li et al., CVPR 2023): the frame halfway between two others.

Written from the published geometry; ``amt-s.pth`` loads by its keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.experts.correlation import Correlation, grid, moved

LEVELS, RADIUS = 4, 3
FLOWS = 3
"""Flows each way that are mixed into one frame."""
WIDTHS, SIDE = (20, 32, 44, 56), 20
HALF = 0.5
"""The moment, between 0 and 1."""


def scaled(x: Tensor, by: float) -> Tensor:
    """(B,C,H,W) resized, bilinear."""
    return F.interpolate(x, scale_factor=by, mode="bilinear", align_corners=False)


def conv(given: int, made: int, stride: int = 1) -> nn.Sequential:
    """3x3 and a PReLU."""
    return nn.Sequential(nn.Conv2d(given, made, 3, stride, 1), nn.PReLU(made))


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1, and the shortcut. (B,I,H,W) to (B,O,H',W')."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made // 4, 1)
        self.conv2 = nn.Conv2d(made // 4, made // 4, 3, stride, 1)
        self.conv3 = nn.Conv2d(made // 4, made, 1)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(given, made, 1, stride), _Norm())

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = F.relu(F.instance_norm(layer(y)))
        return F.relu(self.downsample(x) + y)


class _Norm(nn.Module):
    """Each channel of each picture to mean 0 and deviation 1."""

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x)


class Features(nn.Module):
    """What is correlated: (B,3,H,W) to (B,84,H/8,W/8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, 1), Bottleneck(32, 32, 1))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, 2), Bottleneck(64, 64, 1))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, 2), Bottleneck(96, 96, 1))
        self.conv2 = nn.Conv2d(96, 84, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(F.instance_norm(self.conv1(x)))
        out: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return out


class Pyramid(nn.Module):
    """(B,3,H,W) to four levels, the first half as large, each half of the one before."""

    def __init__(self) -> None:
        super().__init__()
        for i, (given, made) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False), 1):
            self.add_module(f"pyramid{i}", nn.Sequential(conv(given, made, 2), conv(made, made)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        found = []
        for level in self.children():
            x = level(x)
            found.append(x)
        return found


class ResBlock(nn.Module):
    """Five convolutions and a shortcut; the second and fourth see the last channels only."""

    conv1: nn.Module
    conv2: nn.Module
    conv3: nn.Module
    conv4: nn.Module

    def __init__(self, wide: int) -> None:
        super().__init__()
        for i, width in enumerate((wide, SIDE, wide, SIDE), 1):
            self.add_module(f"conv{i}", conv(width, width))
        self.conv5, self.prelu = nn.Conv2d(wide, wide, 3, padding=1), nn.PReLU(wide)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same."""
        y = x
        for first, second in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            y = first(y)
            y = torch.cat([y[:, :-SIDE], second(y[:, -SIDE:])], 1)
        out: Tensor = self.prelu(x + self.conv5(y))
        return out


class Decoder(nn.Module):
    """Twice as large: (B,I,H,W) to (B,O,2H,2W)."""

    def __init__(self, given: int, wide: int, made: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            conv(given, wide), ResBlock(wide), nn.ConvTranspose2d(wide, made, 4, 2, 1)
        )

    def forward(self, *x: Tensor) -> Tensor:
        """See the class; the inputs lie side by side."""
        out: Tensor = self.convblock(torch.cat(x, 1))
        return out


class Update(nn.Module):
    """What features and flows are mended by, worked out at a ``down``-th of their size."""

    gru: nn.Module
    feat_head: nn.Module
    flow_head: nn.Module

    def __init__(self, wide: int, down: int) -> None:
        super().__init__()
        self.down = down
        self.convc1 = nn.Conv2d(2 * LEVELS * (2 * RADIUS + 1) ** 2, 64, 1)
        self.convf1 = nn.Conv2d(4, 40, 7, padding=3)
        self.convf2 = nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(64 + 20, 68, 3, padding=1)
        for name, given, made in (
            ("gru", 68 + 4 + wide, 76), ("feat_head", 76, wide), ("flow_head", 76, 4),
        ):  # fmt: skip
            layers = nn.Conv2d(given, 76, 3, padding=1), nn.LeakyReLU(0.1)
            self.add_module(name, nn.Sequential(*layers, nn.Conv2d(76, made, 3, padding=1)))

    def forward(self, x: Tensor, flow: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B,C,H,W), both flows and correlations at a ``down``-th of it."""
        x = scaled(x, 1 / self.down) if self.down > 1 else x
        found = F.leaky_relu(self.convc1(found), 0.1)
        ways = F.leaky_relu(self.convf2(F.leaky_relu(self.convf1(flow), 0.1)), 0.1)
        ways = F.leaky_relu(self.conv(torch.cat([found, ways], 1)), 0.1)
        state = self.gru(torch.cat([ways, flow, x], 1))
        features, flows = self.feat_head(state), self.flow_head(state)
        if self.down > 1:
            return scaled(features, self.down), self.down * scaled(flows, self.down)
        return features, flows


class Amt(nn.Module):
    """Two frames (B,3,H,W) in [0, 1], sides of whole sixteens and 128 px or more, to the one
    between, (B,3,H,W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.feat_encoder, self.encoder = Features(), Pyramid()
        self.decoder4 = Decoder(2 * d + 1, 2 * d, c + 4)
        self.decoder3 = Decoder(3 * c + 4, 3 * c, b + 4)
        self.decoder2 = Decoder(3 * b + 4, 3 * b, a + 4)
        self.decoder1 = Decoder(3 * a + 4, 3 * a, 8 * FLOWS)
        self.update4, self.update3, self.update2 = Update(c, 1), Update(b, 2), Update(a, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * FLOWS, 6 * FLOWS, 3, padding=1), nn.PReLU(6 * FLOWS),
            nn.Conv2d(6 * FLOWS, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """See the class."""
        mean = torch.cat([before, after], 2).mean((1, 2, 3), keepdim=True)
        before, after = before - mean, after - mean
        maps = self.feat_encoder(torch.cat([before, after])).chunk(2)
        looks = [Correlation(a, b, LEVELS, RADIUS) for a, b in (maps, maps[::-1])]
        levels = [level.chunk(2) for level in self.encoder(torch.cat([before, after]))]
        moment = torch.full_like(levels[3][0][:, :1], HALF)
        out = self.decoder4(*levels[3], moment)
        flow = torch.zeros_like(moment).expand(-1, 4, -1, -1)
        for level, update, decoder in (
            (2, self.update4, self.decoder3),
            (1, self.update3, self.decoder2),
            (0, self.update2, self.decoder1),
        ):
            x, flow = out[:, 4:], out[:, :4] + 2 * scaled(flow, 2)
            more, by = update(x, *_looked(looks, flow, update.down))
            x, flow = x + more, flow + by
            seen = [moved(f, way) for f, way in zip(levels[level], flow.chunk(2, 1), strict=True)]
            out = decoder(x, *seen, flow)
        return self._mixed(before, after, mean, out, 2 * scaled(flow, 2))

    def _mixed(
        self, before: Tensor, after: Tensor, mean: Tensor, out: Tensor, flow: Tensor
    ) -> Tensor:
        """The frame, from what the last decoder says, (B,24,H,W), and both flows."""
        n = FLOWS
        ways, share, rest = out[:, : 4 * n], out[:, 4 * n : 5 * n], out[:, 5 * n :]
        ways = ways.unflatten(1, (2, n, 2)) + flow.unflatten(1, (2, 1, 2))
        share = torch.sigmoid(share).unflatten(1, (n, 1))
        guesses = []
        for i in range(n):
            first, second = (moved(x, ways[:, k, i]) for k, x in enumerate((before, after)))
            mixed = share[:, i] * first + (1 - share[:, i]) * second
            guesses.append(mixed + mean + rest[:, 3 * i : 3 * i + 3])
        best = torch.stack(guesses).mean(0) + self.comb_block(torch.cat(guesses, 1))
        return best.clamp(0, 1)


def _looked(looks: list[Correlation], flow: Tensor, down: int) -> tuple[Tensor, Tensor]:
    """Both flows at a ``down``-th of their size, and the correlations that they point at."""
    flow = scaled(flow, 1 / down) / down if down > 1 else flow
    first, second = flow.chunk(2, 1)
    start = grid(flow)
    places = (start + second / HALF, start + first / HALF)
    return flow, torch.cat([look(at) for look, at in zip(looks, places, strict=True)], 1)
