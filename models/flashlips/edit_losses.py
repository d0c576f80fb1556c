"""Eq. 4-8 for an edited latent: in latent space, and in pixels of a decoded mouth window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from models.flashlips.parts import Net, images, latent_mask
from models.losses.l1 import mae, masked_mae
from models.losses.perceptual import perceptual

LATENT_TERMS = frozenset({"lat_l1", "lat_l1_mask", "lat_l1_lips"})
PIXEL_TERMS = frozenset({"pix_l1_mask", "pix_l1_lips"})


@dataclass(frozen=True)
class Levers:
    """How much of the pixel losses a step pays for; as it stands all of it, the paper's setting.

    Decoding is most of a step's cost. Fields of a recipe's ``net``, by name in ``NAMES``.

    Attributes:
        window: latent rows and columns to decode (top, bottom, left, right), or None for all.
        fraction: share of the batch whose pixels are compared.
        start: share of the run before which no pixels are compared.
        until: share of the run after which the codec itself decodes, and no stand-in.
    """

    window: tuple[int, int, int, int] | None = None
    fraction: float = 1.0
    start: float = 0.0
    until: float = 1.0

    @classmethod
    def of(cls, net: Net) -> Levers:
        """Those of a recipe's ``net``.

        Raises:
            InputError: a share lies outside [0, 1].
        """
        window, shares = net.get("pixel_window"), {}
        for name, field in NAMES.items():
            if name in net:
                shares[field] = float(net[name])
                if not 0 <= shares[field] <= 1:
                    raise InputError(f"net.{name} is {net[name]!r}; give a share, 0 to 1")
        return cls(tuple(window) if window else None, **shares)


NAMES = {"pixel_fraction": "fraction", "pixel_from": "start", "pixel_decoder_until": "until"}
"""Field of ``net`` -> share it sets."""


class EditLosses:
    """The losses of Eq. 9, and ``lat_l1_lips``. Perceptual terms are those that have a backbone.

    ``lat_l1_lips`` is ours: Eq. 6 in latent space, on the cells that the lips mask touches. It
    needs no decoder pass, and every sample of a batch has it.

    Pixel terms that are off, since the run is not that far, are zeros.

    Args:
        codec: frozen codec; gradients flow through ``decode``.
        tau_lips: pixels of lips mask below which a sample has no lips term (Eq. 6).
        levers: which pixels are compared, and when.
        backbones: by term, ``vgg`` (Eq. 7) and ``vgg_face`` (Eq. 8), frozen.
        stand_in: frozen codec of the same latents, whose decoder is cheaper.

    Attributes:
        progress: share of the run that is done, in [0, 1]; 0 until somebody says more.
    """

    def __init__(
        self,
        codec: Any,
        tau_lips: float,
        levers: Levers,
        backbones: Mapping[str, Any] | None = None,
        stand_in: Any = None,
    ) -> None:
        self.codec, self.tau_lips, self.levers = codec, tau_lips, levers
        self.backbones, self.stand_in = dict(backbones or {}), stand_in
        self.progress = 0.0

    @property
    def terms(self) -> frozenset[str]:
        """Names of the terms it gives."""
        return LATENT_TERMS | PIXEL_TERMS | self.backbones.keys()

    @property
    def frozen(self) -> dict[str, Any]:
        """Nets that are asked and never trained."""
        found = {"codec": self.codec, **self.backbones}
        return found if self.stand_in is None else {**found, "pixel_decoder": self.stand_in}

    @property
    def decoder(self) -> Any:
        """The codec that decodes now."""
        if self.stand_in is None or self.progress >= self.levers.until:
            return self.codec
        return self.stand_in

    def pixels_of(self, batch: int) -> int:
        """How many samples at a batch's start have their pixels compared."""
        share = self.levers.fraction if self.progress >= self.levers.start else 0
        return max(1, round(batch * share)) if share else 0

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
        size, decode = z.shape[-1], self.decoder.decode
        top, bottom, left, right = self.levers.window or (0, size, 0, size)
        s = self.codec.stride
        rows, cols = slice(top * s, bottom * s), slice(left * s, right * s)
        x = decode(z[:count, :, top:bottom, left:right])
        if x_true is None:
            target = decode(z_true[:count, :, top:bottom, left:right]).detach()
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
