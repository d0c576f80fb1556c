"""StableSyncNet (Li et al., LatentSync, 2024): 16 lower faces and their sound to vectors.

Both encoders are Stable Diffusion's, made narrower step by step down to one vector. Written from
the published geometry (``syncnet_16_pixel_attn.yaml``); ``stable_syncnet.pt`` loads by its keys.
The checkpoint without attention that circulates as ``latentsync_syncnet.pt`` is another net.

Its picture is the lower half of 16 aligned faces of 256 px in [-1, 1] (LatentSync's crop), its
sound the 52 mel vectors beside them: 16 kHz, 80 bands of 55 to 7600 Hz, 800 samples every 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from models.experts.published import load_published

FRAMES, STEPS = 16, 52
HEADS = 8
Factor = tuple[int, int]
SOUND: tuple[tuple[int, Factor | None, bool], ...] = (
    (32, (2, 1), False), (64, (2, 2), False), (128, (2, 2), False), (256, None, True),
    (512, (2, 2), True), (1024, (2, 2), False), (2048, (2, 3), False),
)  # fmt: skip
"""Of each level: channels, how much smaller it leaves (down, across), whether it attends."""
PICTURE: tuple[tuple[int, Factor | None, bool], ...] = (
    (64, (1, 2), False), (128, (2, 2), False), (256, (2, 2), False), (256, (2, 2), False),
    (512, (2, 2), True), (1024, (2, 2), True), (2048, (2, 2), False), (2048, (2, 2), False),
)  # fmt: skip


class ResBlock(nn.Module):
    """Residual block, and a strided convolution after it. (B,I,H,W) -> (B,O,H/down,W/across)."""

    def __init__(self, wide_in: int, width: int, factor: Factor | None) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(wide_in), nn.Conv2d(wide_in, width, 3, padding=1)
        self.norm2, self.conv2 = _norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.conv_shortcut: nn.Module = nn.Identity()
        if wide_in != width:
            self.conv_shortcut = nn.Conv2d(wide_in, width, 1)
        self.downsample_conv: nn.Module = nn.Identity()
        self.padding = (0, 0, 0, 0)
        if factor is not None:
            self.downsample_conv = nn.Conv2d(width, width, 3, factor)
            # Left, right, above, below: both sides of an axis that keeps its size, else one.
            self.padding = (int(factor[1] == 1), 1, int(factor[0] == 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y))) + self.conv_shortcut(x)
        out: Tensor = self.downsample_conv(F.pad(y, self.padding))
        return out


class Attention(nn.Module):
    """Self-attention with 8 heads. Keeps (B,N,C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q, self.to_k = nn.Linear(width, width), nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        q, k, v = (
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class Gated(nn.Module):
    """GEGLU: half of a linear layer, times the GELU of the other half. (...,I) -> (...,O)."""

    def __init__(self, wide_in: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(wide_in, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Four times as wide inside, gated. Keeps (...,C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        gated, back = Gated(width, 4 * width), nn.Linear(4 * width, width)
        self.net = nn.Sequential(gated, nn.Identity(), back)  # a dropout in training

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.net(x)
        return out


class AttentionBlock(nn.Module):
    """A transformer block over an image's places, added to it. Keeps (B,C,H,W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = _norm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.ff = Attention(width), FeedForward(width)
        self.conv_in, self.conv_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = self.conv_in(self.norm1(x)).flatten(2).transpose(1, 2)
        y = y + self.attn(self.norm2(y))
        y = y + self.ff(self.norm3(y))
        out: Tensor = x + self.conv_out(y.transpose(1, 2).unflatten(2, x.shape[2:]))
        return out


class Encoder(nn.Module):
    """(B,C,H,W) to (B,2048), not below 0; the levels must end in a single place."""

    def __init__(self, channels: int, levels: Sequence[tuple[int, Factor | None, bool]]) -> None:
        super().__init__()
        wide = levels[0][0]
        self.conv_in = nn.Conv2d(channels, wide, 3, padding=1)
        blocks: list[nn.Module] = []
        for width, factor, attends in levels:
            blocks.append(ResBlock(wide, width, factor))
            if attends:
                blocks.append(AttentionBlock(width))
            wide = width
        self.down_blocks = nn.ModuleList(blocks)
        self.norm_out = _norm(wide)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return F.relu(self.norm_out(x)).flatten(1)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


class StableSyncNet(nn.Module):
    """Keys and shapes are those of ``stable_syncnet.pt``."""

    def __init__(self) -> None:
        super().__init__()
        self.audio_encoder = Encoder(1, SOUND)
        self.visual_encoder = Encoder(3 * FRAMES, PICTURE)

    def forward(self, frames: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of length 1, both (B,2048); their cosine, in [0, 1], says how well they fit.

        Args:
            frames: (B,48,128,256) in [-1, 1]: frame 0's red, green and blue, then frame 1's.
            mel: (B,1,80,52).
        """
        return F.normalize(self.visual_encoder(frames)), F.normalize(self.audio_encoder(mel))


def load_stable_syncnet(weights: Path) -> StableSyncNet:
    """The net with its published weights, in evaluation mode, frozen.

    Raises:
        InputError: the file holds something else.
    """
    return load_published(
        StableSyncNet, weights, "no StableSyncNet; convert stable_syncnet.pt of LatentSync 1.6"
    )
