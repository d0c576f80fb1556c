"""Eq. 4-8 for an edited latent: in latent space, and in pixels of a decoded mouth window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.flashlips.parts import images, latent_mask
from models.losses.l1 import mae, masked_mae
from models.losses.perceptual import perceptual

LATENT_TERMS = frozenset({"lat_l1", "lat_l1_mask", "lat_l1_lips"})
PIXEL_TERMS = frozenset({"pix_l1_mask", "pix_l1_lips"})


class EditLosses:
    """The losses of Eq. 9, and ``lat_l1_lips``. Perceptual terms are those that have a backbone.

    ``lat_l1_lips`` is ours: Eq. 6 in latent space, on the cells that the lips mask touches. It
    needs no decoder pass, and every sample of a batch has it.

    Decoding is most of a step's cost, so the pixel terms look at a window around the mouth and at
    a part of the batch (speed lever of the recipe; both at full is the paper's setting).

    Args:
        codec: frozen codec; gradients flow through ``decode``.
        tau_lips: pixels of lips mask below which a sample has no lips term (Eq. 6).
        window: latent rows and columns to decode (top, bottom, left, right), or None for all.
        fraction: share of the batch whose pixels are compared.
        backbones: by term, ``vgg`` (Eq. 7) and ``vgg_face`` (Eq. 8), frozen.
    """

    def __init__(
        self,
        codec: Any,
        tau_lips: float,
        window: tuple[int, int, int, int] | None,
        fraction: float,
        backbones: Mapping[str, Any] | None = None,
    ) -> None:
        self.codec, self.tau_lips = codec, tau_lips
        self.window, self.fraction = window, fraction
        self.backbones = dict(backbones or {})

    @property
    def terms(self) -> frozenset[str]:
        """Names of the terms it gives."""
        return LATENT_TERMS | PIXEL_TERMS | self.backbones.keys()

    @property
    def frozen(self) -> dict[str, Any]:
        """Nets that are asked and never trained."""
        return {"codec": self.codec, **self.backbones}

    def pixels_of(self, batch: int) -> int:
        """How many samples at a batch's start have their pixels compared."""
        return max(1, round(batch * self.fraction)) if self.fraction else 0

    def __call__(
        self, z: Any, z_true: Any, batch: Mapping[str, Any], x_true: Any
    ) -> dict[str, Any]:
        """Named terms.

        Args:
            z: edited and wanted latents (B,C,h,w).
            z_true: likewise.
            batch: holds ``mask`` and ``lips_mask`` (B,S,S bool).
            x_true: wanted pixels (B,S,S,3) uint8, or None to decode ``z_true`` for them.
        """
        difference = z - z_true
        m = latent_mask(batch["mask"], z.shape[-1])
        lips = latent_mask(batch["lips_mask"], z.shape[-1])
        terms = {
            "lat_l1": mae(difference),
            "lat_l1_mask": masked_mae(difference, m).mean(),
            "lat_l1_lips": masked_mae(difference, lips).mean(),
        }
        count = self.pixels_of(len(z))
        if not count:
            nothing = difference.sum() * 0
            return {**terms, **dict.fromkeys(self.terms - terms.keys(), nothing)}
        size = z.shape[-1]
        top, bottom, left, right = self.window or (0, size, 0, size)
        s = self.codec.stride
        rows, cols = slice(top * s, bottom * s), slice(left * s, right * s)
        x = self.codec.decode(z[:count, :, top:bottom, left:right])
        if x_true is None:
            target = self.codec.decode(z_true[:count, :, top:bottom, left:right]).detach()
        else:
            target = images(x_true[:count])[:, :, rows, cols]
        mask = batch["mask"][:count, None, rows, cols].float()
        lips = batch["lips_mask"][:count, None, rows, cols].float()
        valid = lips.sum((1, 2, 3)) >= self.tau_lips
        terms["pix_l1_mask"] = masked_mae(x - target, mask).mean()
        terms["pix_l1_lips"] = (masked_mae(x - target, lips) * valid).mean()
        for name, backbone in self.backbones.items():
            terms[name] = perceptual(backbone, x, target)
        return terms
