"""Nets of FlashLips: the editor (Sec. 3.1.1, Fig. 3) and the lips encoders (Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks.resnet import ResBlock, ResNet
from models.flashlips.fmt import FMT
from models.flashlips.unet import UNet
from models.flashlips.vit import ViT

__all__ = [
    "FMT", "Editor", "ImageLipsEncoder", "LipsEncoder", "ReferenceNet", "UNet", "ViT", "mouth_crop",
]  # fmt: skip

MOUTH = (0.44, 0.92, 0.24, 0.76)
"""Rows and columns of the canonical crop (top, bottom, left, right) that the mouth CNN sees."""


LOUD = 4.0
"""Gain of the lips encoder's fresh heads."""


class ReferenceNet(nn.Module):
    """f_ref: the reference latent, 4 -> 32 learned channels, beside the raw latent itself.

    (B, C, h, w) -> (B, out + C, h, w).
    """

    def __init__(self, latent: int = 4, out: int = 32, width: int = 128, blocks: int = 2) -> None:
        super().__init__()
        groups = min(32, width // 4)
        self.net = nn.Sequential(
            nn.Conv2d(latent, width, 3, padding=1),
            *(ResBlock(width, width, groups) for _ in range(blocks)),
            nn.GroupNorm(groups, width),
            nn.SiLU(),
            nn.Conv2d(width, out, 3, padding=1),
        )

    def forward(self, z_ref: Any) -> Any:
        """Learned channels first, then the latent as it is."""
        return torch.cat([self.net(z_ref), z_ref], 1)


class Editor(nn.Module):
    """The one-step latent editor: predicts a residual to its input latent (Eq. 1-3).

    The same net is trained masked (reconstruction) and mask-free (LipsChange); in the second the
    source's latent takes the masked one's place and no mask enters anywhere.

    With ``gate`` the UNet has one more output g, and the edit is residual + g (z_ref - z_in): what
    can be had from the reference is copied, not remembered. Small nets trained on few people need
    it; the paper's net has none. With ``film`` every block is told the lips vector as well (FiLM),
    which it follows after hundreds of steps where tiling alone takes thousands; likewise ours, and
    for the UNet only.

    Args:
        latent: channels of the codec.
        lips: length of the lips vector.
        reference: sizes of ``ReferenceNet``.
        unet: sizes of the UNet, the default backbone.
        vit: sizes of the ViT, which is the backbone when they are given ({} is the paper's).
        gate, film: see above.
    """

    entry_methods = ("reference",)

    def __init__(
        self,
        latent: int = 4,
        lips: int = 12,
        reference: Mapping[str, int] | None = None,
        unet: Mapping[str, Any] | None = None,
        gate: bool = False,
        film: bool = False,
        vit: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if vit is not None and (film or unet is not None):
            raise TypeError("the ViT takes no film, and stands in the UNet's place")
        self.latent, self.gate, self.film = latent, gate, film
        self.f_ref = ReferenceNet(latent, **(reference or {}))
        learned = (reference or {}).get("out", 32)
        c_in, c_out = latent + learned + latent + lips, latent + gate
        self.kind = "unet" if vit is None else "vit"
        if vit is None:
            self.unet = UNet(c_in, c_out, condition=lips * film, **(unet or {}))
        else:
            self.vit = ViT(c_in, c_out, **vit)
        nn.init.zeros_(self.backbone.conv_out.weight)
        assert self.backbone.conv_out.bias is not None
        nn.init.zeros_(self.backbone.conv_out.bias)

    @property
    def backbone(self) -> UNet | ViT:
        """What edits: the UNet of Table A.1 or the ViT of Table A.2."""
        return self.unet if self.kind == "unet" else self.vit

    def reference(self, z_ref: Any) -> Any:
        """Features of the reference latent; cached over a video. (B,C,h,w) -> (B,C',h,w)."""
        return self.f_ref(z_ref)

    def forward(self, z_in: Any, reference: Any, lips: Any) -> Any:
        """Edited latent.

        Args:
            z_in: (B,C,h,w) masked latent, or the source's own when mask-free.
            reference: (B,C',h,w) from ``reference``.
            lips: (B,12).
        """
        tiled = lips[:, :, None, None].expand(-1, -1, *z_in.shape[-2:])
        z_input = torch.cat([z_in, reference, tiled], 1)
        change = self.backbone(z_input, lips) if self.film else self.backbone(z_input)
        if not self.gate:
            return z_in + change
        residual, g = change[:, : self.latent], change[:, self.latent :]
        return z_in + residual + g * (reference[:, -self.latent :] - z_in)


def mouth_crop(images: Any, size: int) -> Any:
    """The mouth's region of canonical crops: (B,3,S,S) -> (B,3,size,size)."""
    top, bottom, left, right = (round(x * images.shape[-1]) for x in MOUTH)
    part = images[:, :, top:bottom, left:right]
    return F.interpolate(part, (size, size), mode="bilinear", antialias=True)


class LipsEncoder(nn.Module):
    """Frozen expression features -> MLP (8-D), beside a mouth-crop CNN (4-D) (Fig. 4, Table 5).

    By default the two are concatenated to 12-D, as Table 5's and Fig. 4's "8D+4D" read and as the
    editor's 52 channels want it; ``compose="sum"`` is Sec. 3.1.1's sum, the shorter padded with
    zeros.
    """

    def __init__(
        self,
        expression: int,
        main: int = 8,
        residual: int = 4,
        hidden: int = 128,
        width: int = 64,
        layers: Sequence[int] = (2, 2, 2, 2),
        mouth: int = 96,
        compose: Literal["concat", "sum"] = "concat",
    ) -> None:
        super().__init__()
        if compose not in ("concat", "sum"):
            raise TypeError(f"compose is {compose!r}: concat or sum")
        self.mouth, self.summed = mouth, compose == "sum"
        self.register_buffer("mean", torch.zeros(expression))
        self.register_buffer("scale", torch.ones(expression))
        self.head = nn.Sequential(
            nn.Linear(expression, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, main),
        )  # fmt: skip
        self.residual = ResNet(residual, layers, width) if residual else None
        # Fresh heads whisper (spread .03): beside latents of unit spread the editor would take
        # thousands of steps to hear them.
        for head in (self.head[-1], self.residual.head if self.residual else None):
            if isinstance(head, nn.Linear):
                nn.init.normal_(head.weight, std=LOUD / head.in_features**0.5)

    def forward(self, expression: Any, images: Any) -> Any:
        """Lips vectors.

        Args:
            expression: (B,E) frozen features.
            images: (B,3,S,S) crops in [-1,1].

        Returns:
            (B, main + residual), or (B, the longer of both) when summed.
        """
        z_main = self.head((expression - self.mean) * self.scale)
        if self.residual is None:
            return z_main
        z_add = self.residual(mouth_crop(images, self.mouth))
        if not self.summed:
            return torch.cat([z_main, z_add], 1)
        longest = max(z_main.shape[1], z_add.shape[1])
        z_main, z_add = (F.pad(z, (0, longest - z.shape[1])) for z in (z_main, z_add))
        return z_main + z_add


class ImageLipsEncoder(nn.Module):
    """The distilled encoder: one ResNet from the face crop to the lips vector (ResNet-34 at 384).

    Sec. 3.1.1 and Fig. 4 have a ResNet-34, Sec. 4.2 a ResNet-50 (``bottleneck``).
    (B,3,S,S) in [-1,1] -> (B, lips).
    """

    def __init__(
        self,
        lips: int = 12,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        size: int = 384,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        self.net = ResNet(lips, layers, width, bottleneck=bottleneck)

    def forward(self, images: Any) -> Any:
        """Crops to lips vectors."""
        images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        return self.net(images)
