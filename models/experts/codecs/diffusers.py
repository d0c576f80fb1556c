"""Any AutoencoderKL or AutoencoderTiny that was saved to a folder by diffusers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from core.errors import InputError
from core.files import read_json

KINDS = ("AutoencoderKL", "AutoencoderTiny")


class DiffusersBody(nn.Module):
    """A diffusers autoencoder with plain ``encode`` (the mode, never a sample) and ``decode``.

    Args:
        net: the autoencoder.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in [-1,1] to latents in the net's own units."""
        out: Any = self.net.encode(x)  # type: ignore[operator]
        return out.latent_dist.mode() if hasattr(out, "latent_dist") else out.latents

    def decode(self, z: Tensor) -> Tensor:
        """Latents in the net's own units to pixels."""
        return self.net.decode(z).sample  # type: ignore[operator]


@dataclass(frozen=True)
class Loaded:
    """A body with what its config says of its latents."""

    body: DiffusersBody
    channels: int
    stride: int
    scale: float
    shift: float


def load_diffusers(folder: Path) -> Loaded:
    """The autoencoder in ``folder`` (``config.json`` and safetensors), never from a hub.

    Raises:
        InputError: no such folder, another kind of net, or broken files.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no config.json; name a folder that diffusers' save_pretrained wrote"
        )
    config = read_json(path)
    kind = config.get("_class_name") if isinstance(config, dict) else None
    if kind not in KINDS:
        raise InputError(f"{path} describes {kind!r}; this reads {' and '.join(KINDS)}")
    import diffusers

    try:
        net = getattr(diffusers, kind).from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder} can't be loaded ({reason}); save it again") from error
    blocks = "block_out_channels" if kind == "AutoencoderKL" else "encoder_block_out_channels"
    return Loaded(
        DiffusersBody(net),
        int(net.config["latent_channels"]),
        2 ** (len(net.config[blocks]) - 1),
        float(net.config.get("scaling_factor") or 1.0),
        float(net.config.get("shift_factor") or 0.0),
    )
