"""Latents encoded on the fly from augmented crops, in place of cached ones (paper, A.1).

Colours and mirrors are those of ``core.media.colour``, a sample's own at each step, where cached
variants are a clip's own for ever. The price is three passes of the encoder for each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core.errors import InputError
from core.media.colour import STRENGTH
from models.experts import expression
from models.flashlips.parts import Net, images

FRAMES = ("", "_reference", "_other")
"""Suffixes of a sample's frames in a batch: source, reference, and the one that lends its lips."""


@dataclass(frozen=True)
class Online:
    """Augments a batch's samples and encodes them. Defaults are the paper's.

    Attributes:
        codec: frozen codec.
        flip: probability of a mirror.
        chance: probability of other colours.
        strength: of those: brightness, contrast, saturation, hue.
    """

    codec: Any
    flip: float = 0.5
    chance: float = 0.9
    strength: Sequence[float] = STRENGTH

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """The batch augmented: all frames and fields of a sample alike.

        Latents that are not encoded anew (the reference's masked one, the other frame's) are left
        out, for they would show other colours than the crops.
        """
        rows = self.draw(len(batch["crop"]), rng).to(batch["crop"].device)
        mirror = rows[:, 0] > 0
        found = {name: value for name, value in batch.items() if not name.startswith("latent_")}
        for frame in FRAMES:
            if f"crop{frame}" in found:
                found[f"crop{frame}"] = changed(found[f"crop{frame}"], rows)
            for name in (f"mask{frame}", f"lips_mask{frame}"):
                if name in found:
                    found[name] = where(mirror, found[name].flip(2), found[name])
            if self.flip and f"expression{frame}" in found:
                x = found[f"expression{frame}"]
                found[f"expression{frame}"] = where(mirror, mirrored(x), x)
        source = images(found["crop"])
        found["latent_source"] = self.codec.encode(source)
        # M painted grey, 0 in [-1, 1], as preprocessing.steps.latents does it.
        found["latent_masked"] = self.codec.encode(source.masked_fill(found["mask"][:, None], 0.0))
        found["latent_source_reference"] = self.codec.encode(images(found["crop_reference"]))
        return found

    def draw(self, count: int, rng: torch.Generator) -> Any:
        """Parameters of ``count`` samples, (count, 5) as ``core.media.colour.PARAMETERS``."""
        chance = torch.rand(count, 6, generator=rng, device=rng.device)
        spread = 2 * chance[:, 2:] - 1
        b, c, s, h = self.strength
        low = torch.tensor([max(0.0, 1 - x) for x in (b, c, s)] + [-h], device=rng.device)
        high = torch.tensor([1 + x for x in (b, c, s)] + [h], device=rng.device)
        colours = (low + high) / 2 + spread * (high - low) / 2
        plain = torch.tensor([1.0, 1.0, 1.0, 0.0], device=rng.device)
        colours = where(chance[:, 1] < self.chance, colours, plain.expand_as(colours))
        return torch.cat([(chance[:, :1] < self.flip).float(), colours], 1)


def online(codec: Any, net: Net) -> Online | None:
    """What ``net.encode_online`` asks for: nothing, ``True``, or a mapping of other chances.

    Raises:
        InputError: unknown names, or features that have no mirror.
    """
    asked = net.get("encode_online")
    if asked is None or asked is False:
        return None
    try:
        found = Online(codec, **({} if asked is True else asked))
    except TypeError as error:
        raise InputError(
            f"net.encode_online is {asked!r}; give True, or some of flip, chance and strength"
        ) from error
    if found.flip and net["expression"] != expression.EXPRESSION_DIM:
        raise InputError(
            f"net.encode_online can't mirror {net['expression']} expression features, only the "
            f"mesh's {expression.EXPRESSION_DIM}: set its flip to 0"
        )
    return found


def where(chosen: Any, yes: Any, no: Any) -> Any:
    """Rows of ``yes`` where ``chosen`` (B,), of ``no`` elsewhere."""
    return torch.where(chosen.view(-1, *[1] * (yes.dim() - 1)), yes, no)


def mirrored(vectors: Any) -> Any:
    """``models.experts.expression.mirrored`` for tensors (B, E)."""
    # It moves numbers and turns signs: whole numbers from 1 show where each goes, and how.
    table = expression.mirrored(np.arange(1, vectors.shape[-1] + 1, dtype=np.float32))
    moved = torch.from_numpy(table).to(vectors.device)
    return vectors[:, (moved.abs() - 1).long()] * moved.sign()


def changed(crops: Any, rows: Any) -> Any:
    """``core.media.colour.changed`` for a batch, each sample by its own parameters.

    Args:
        crops: (B,S,S,3) uint8 RGB.
        rows: (B,5) parameters.

    Returns:
        (B,S,S,3) uint8; a sample whose parameters change nothing is as it was, to the bit.
    """
    _, brightness, contrast, saturation, turn = (v.view(-1, 1, 1, 1) for v in rows.unbind(1))
    x = (crops.float() * (brightness / 255)).clamp(0, 1)
    x = ((x - 0.5) * contrast + 0.5).clamp(0, 1)
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])).sum(-1, keepdim=True)
    x = turned((grey + (x - grey) * saturation).clamp(0, 1), turn)
    x = (x * 255).round().clamp(0, 255).to(torch.uint8)
    same = (rows[:, 1:] == rows.new_tensor([1.0, 1.0, 1.0, 0.0])).all(1)
    x = where(same, crops, x)
    return where(rows[:, 0] > 0, x.flip(2), x)


def turned(x: Any, turn: Any) -> Any:
    """Colours whose HSV hue is turned; value and saturation stay.

    Args:
        x: (...,3) RGB in [0,1].
        turn: circles, (...,1).
    """
    value, least = x.amax(-1, keepdim=True), x.amin(-1, keepdim=True)
    chroma = value - least
    r, g, b = x.split(1, -1)
    safe = chroma.clamp(min=1e-12)
    hue = torch.where(
        value == r,
        (g - b) / safe,
        torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4),
    )
    # HSV to RGB in closed form: with k = (n + hue) mod 6, n = 5, 3, 1 for red, green, blue, a
    # channel falls from the value by the chroma times min(k, 4 - k), kept to [0, 1].
    k = (hue + 6 * turn + x.new_tensor([5.0, 3.0, 1.0])) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)
