"""Stage 1a: masked reconstruction with the lips encoder trained beside the editor (Sec. 3.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, FramePair
from core.errors import InputError
from core.weights import Store
from models.experts.codec import load_codec
from models.flashlips.edit_losses import EditLosses, Levers
from models.flashlips.online import Online, online
from models.flashlips.parts import (
    Net,
    Statistics,
    build,
    freeze,
    images,
    latent_mask,
    load_parts,
    pixels,
)
from models.losses.l1 import masked_mae
from models.losses.perceptual import load_backbone

FIELDS = ("crop", "mask", "lips_mask", "expression", "latent_source", "latent_masked")


def codec_of(origin: Mapping[str, Any], net: Net, store: Store) -> Any:
    """The frozen codec that made the shards' latents.

    Raises:
        InputError: its channels are not the net's.
    """
    codec = load_codec(str(origin["codec"]).partition("@")[0], store)
    if codec.id != origin["codec"]:
        raise InputError(
            f"the shards' latents come from codec {origin['codec']}, here is {codec.id}: "
            "preprocess again"
        )
    if codec.channels != net["latent"]:
        raise InputError(
            f"codec {codec.id} has {codec.channels} channels, net.latent is {net['latent']}: "
            f"--set net.latent={codec.channels}"
        )
    return freeze(codec)


def edit_losses(codec: Any, net: Net, store: Store) -> EditLosses:
    """The pixel-loss settings of a recipe's net.

    Raises:
        InputError: the weights of a perceptual term are missing, or ``pixel_decoder`` is no
            decoder of ``codec``'s latents.
    """
    return EditLosses(
        codec,
        float(net.get("tau_lips", 0.0)),
        Levers.of(net),
        {term: load_backbone(term, store) for term in net.get("perceptual", ())},
        stand_in(codec, net["pixel_decoder"], store) if net.get("pixel_decoder") else None,
    )


def stand_in(codec: Any, name: str, store: Store) -> Any:
    """The codec whose decoder stands in for ``codec``'s in the pixel losses.

    Same channels and stride are all that can be checked: that it decodes the same latents is the
    recipe's word.

    Raises:
        InputError: other channels or another stride.
    """
    other = load_codec(name, store)
    if (other.channels, other.stride) != (codec.channels, codec.stride):
        raise InputError(
            f"net.pixel_decoder {other.id} has {other.channels} channels and stride "
            f"{other.stride}, codec {codec.id} has {codec.channels} and {codec.stride}: "
            "name a decoder of the same latents"
        )
    return freeze(other)


class Reconstruction:
    """Objective of masked reconstruction: Eq. 1-9."""

    def __init__(
        self,
        net: Net,
        parents: Mapping[str, CheckpointRef],
        origin: Mapping[str, Any],
        store: Store,
    ) -> None:
        self.codec = codec_of(origin, net, store)
        names = ("editor", "lips_encoder")
        self.fresh = "reconstruction" not in parents
        self.parts: dict[str, nn.Module] = (
            {name: build(name, net) for name in names}
            if self.fresh
            else load_parts(parents["reconstruction"], names)
        )
        self.compare = edit_losses(self.codec, net, store)
        self.terms = self.compare.terms
        self.jitter = float(net.get("latent_jitter", 0.0))
        self.online: Online | None = online(self.codec, net)
        self.expected, self.statistics = int(net["expression"]), Statistics()

    def trainable(self) -> Mapping[str, nn.Module]:
        """The editor (with f_ref) and the lips encoder."""
        return self.parts

    def frozen(self) -> Mapping[str, nn.Module]:
        """The codec, and the backbones of perceptual terms."""
        return self.compare.frozen

    def at(self, progress: float) -> None:
        """Told before each step which share of the run is done."""
        self.compare.progress = progress

    def derive(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Gathers the spread of expression features, to feed the encoder unit variance."""
        if self.fresh:
            features = torch.as_tensor(sample["expression"])
            if features.shape[-1] != self.expected:
                raise InputError(
                    f"the shards' expression features have {features.shape[-1]} numbers, "
                    f"net.expression is {self.expected}: --set net.expression={features.shape[-1]}"
                )
            self.statistics.add(features)
            mean, std = self.statistics.mean_std()
            encoder = self.parts["lips_encoder"]
            encoder.mean.copy_(mean)  # type: ignore[operator]
            encoder.scale.copy_(1 / std)  # type: ignore[operator]
        return {}

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """A source and a reference frame of one clip."""
        return BatchRequest(FramePair(), FIELDS)

    def edit(self, batch: Mapping[str, Any]) -> Any:
        """The reconstructed latent of a batch (Eq. 1, 3)."""
        editor, encoder = self.parts["editor"], self.parts["lips_encoder"]
        lips = encoder(batch["expression"], images(batch["crop"]))
        reference = editor.reference(batch["latent_source_reference"])  # type: ignore[operator]
        return editor(batch["latent_masked"], reference, lips)

    def losses(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Eq. 4-8 on the reconstructed latent."""
        if self.online:
            batch = self.online(batch, rng)
        if self.jitter:
            batch = jittered(batch, self.jitter, self.compare.pixels_of(len(batch["crop"])), rng)
        return self.compare(self.edit(batch), batch["latent_source"], batch, batch["crop"])

    def measure(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Masked latent error, against copying the reference frame's latent."""
        true = batch["latent_source"]
        m = latent_mask(batch["mask"], true.shape[-1])
        return {
            "error": masked_mae(self.edit(batch) - true, m),
            "copy_error": masked_mae(batch["latent_source_reference"] - true, m),
        }

    def film(self, clip: Mapping[str, Any]) -> np.ndarray:
        """Frames in a row (T, ...) and a reference (1, ...): reconstruction beside truth."""
        return np.asarray(
            torch.cat([pixels(self.codec.decode(self.edit(held(clip)))), clip["crop"]], 2).cpu()
        )

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Columns: reference, masked, reconstruction, truth."""
        z = [batch["latent_source_reference"], batch["latent_masked"], self.edit(batch)]
        return sheet([pixels(self.codec.decode(x)) for x in z], batch["crop"])


def jittered(
    batch: Mapping[str, Any], strength: float, spared: int, rng: torch.Generator
) -> dict[str, Any]:
    """Colour jitter for cached latents: one random affine map of the channels for each sample.

    Source, masked and reference latent of a sample are mapped alike, so what is missing can only be
    had from the reference: a net that has learned its few people by heart is of no use.

    Args:
        batch: as the loop gives it.
        strength: largest size of the map's departure from identity, relative to the latent.
        spared: samples at the batch's start that stay, for their pixels are compared.
        rng: of the maps.
    """
    z = batch["latent_source"]
    count, channels = z.shape[:2]
    size = strength * torch.rand(count, 1, 1, generator=rng)
    size[:spared] = 0
    mix = torch.eye(channels) + size * torch.randn(count, channels, channels, generator=rng) / (
        channels**0.5
    )
    shift = size * torch.randn(count, channels, 1, generator=rng)
    mix, shift = mix.to(z.device), shift.to(z.device)[..., None]
    names = [name for name in batch if name.startswith("latent_")]
    return {**batch, **{n: torch.einsum("bij,bjhw->bihw", mix, batch[n]) + shift for n in names}}


def held(clip: Mapping[str, Any]) -> dict[str, Any]:
    """Frames of one clip with its one reference repeated for each of them."""
    count = len(clip["crop"])
    return {
        name: value.expand(count, *value.shape[1:]) if name.endswith("_reference") else value
        for name, value in clip.items()
    }


def sheet(columns: list[Any], crops: Any) -> np.ndarray:
    """Crops (B,S,S,3) side by side: one row a sample."""
    rows = torch.cat([*columns, crops], 2)
    return np.asarray(rows.reshape(-1, *rows.shape[2:]).cpu())
