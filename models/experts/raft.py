"""RAFT (Teed and Deng, ECCV 2020): where each pixel of a picture went in the next.

Written from the published geometry; ``raft-things.pth`` loads by its keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.experts.correlation import Correlation, grid

HIDDEN = 128
LEVELS, RADIUS = 4, 4
STEPS = 20
"""Times that the flow is mended; VBench's number."""


class Block(nn.Module):
    """Two convolutions and a shortcut. (B,I,H,W) to (B,O,H',W')."""

    def __init__(self, given: int, made: int, stride: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1)
        self.conv2 = nn.Conv2d(made, made, 3, padding=1)
        self.norm1, self.norm2 = norm(made), norm(made)
        if stride == 1:
            self.downsample: nn.Module = nn.Identity()
        else:
            self.norm3 = norm(made)  # published under both names
            self.downsample = nn.Sequential(nn.Conv2d(given, made, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.downsample(x) + y)


class Encoder(nn.Module):
    """(B,3,H,W) to (B,O,H/8,W/8)."""

    def __init__(self, made: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7, 2, 3), norm(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1, norm), Block(64, 64, 1, norm))
        self.layer2 = nn.Sequential(Block(64, 96, 2, norm), Block(96, 96, 1, norm))
        self.layer3 = nn.Sequential(Block(96, 128, 2, norm), Block(128, 128, 1, norm))
        self.conv2 = nn.Conv2d(128, made, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(self.norm1(self.conv1(x)))
        out: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return out


class Motion(nn.Module):
    """What flow and correlations say together: (B,128,h,w)."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 128 - 2, 3, padding=1)

    def forward(self, flow: Tensor, found: Tensor) -> Tensor:
        """See the class."""
        found = F.relu(self.convc2(F.relu(self.convc1(found))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([found, moved], 1))), flow], 1)


class Gru(nn.Module):
    """A GRU of convolutions, first along rows, then along columns."""

    def __init__(self) -> None:
        super().__init__()
        for step, kernel, around in ((1, (1, 5), (0, 2)), (2, (5, 1), (2, 0))):
            for gate in "zrq":
                conv = nn.Conv2d(3 * HIDDEN, HIDDEN, kernel, padding=around)
                self.add_module(f"conv{gate}{step}", conv)

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """(B,128,h,w) and (B,256,h,w) to the next state."""
        for step in (1, 2):
            z, r, q = (self.get_submodule(f"conv{gate}{step}") for gate in "zrq")
            both = torch.cat([state, x], 1)
            keep, old = torch.sigmoid(z(both)), torch.sigmoid(r(both)) * state
            state = (1 - keep) * state + keep * torch.tanh(q(torch.cat([old, x], 1)))
        return state


class Head(nn.Module):
    """(B,128,h,w) to what the flow is mended by, (B,2,h,w)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.conv2(F.relu(self.conv1(x)))
        return out


class Update(nn.Module):
    """One step: a new state, and what the flow is mended by."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gru, self.flow_head = Motion(), Gru(), Head()
        self.mask = nn.Sequential(
            nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1)
        )

    def forward(
        self, state: Tensor, context: Tensor, found: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See the class."""
        state = self.gru(state, torch.cat([context, self.encoder(flow, found)], 1))
        return state, self.flow_head(state)


class Raft(nn.Module):
    """Two pictures (B,3,H,W), 0 to 255, sides of whole eights and 128 px or more, to the flow from
    the first to the second, (B,2,H,W) in pixels, x first."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(256, nn.InstanceNorm2d)
        self.cnet = Encoder(2 * HIDDEN, nn.BatchNorm2d)
        self.update_block = Update()

    def forward(self, ours: Tensor, next_: Tensor) -> Tensor:
        """See the class."""
        pair = torch.cat([ours, next_]) / 127.5 - 1
        first, second = self.fnet(pair).chunk(2)
        look = Correlation(first, second, LEVELS, RADIUS)
        state, context = self.cnet(pair[: len(ours)]).chunk(2, 1)
        state, context = torch.tanh(state), F.relu(context)
        start = at = grid(state).expand(len(state), -1, -1, -1)
        for _ in range(STEPS):
            state, by = self.update_block(state, context, look(at), at - start)
            at = at + by
        return enlarged(at - start, self.update_block.mask(state) / 4)


def enlarged(flow: Tensor, mask: Tensor) -> Tensor:
    """(B,2,h,w) to (B,2,8h,8w): each fine place mixes nine coarse ones as ``mask`` (B,576,h,w)
    says."""
    high, wide = flow.shape[2:]
    shares = mask.view(-1, 1, 9, 8, 8, high, wide).softmax(2)
    nine = F.unfold(8 * flow, 3, padding=1).view(-1, 2, 9, 1, 1, high, wide)
    fine = (shares * nine).sum(2).permute(0, 1, 4, 2, 5, 3)
    return fine.reshape(-1, 2, 8 * high, 8 * wide)
