"""Codecs by name: pixels (B,3,H,W) in [-1,1] to latents of about unit spread, and back.

``slim`` is ours and ships with the repository; ``taef2`` is its teacher, from the weights folder;
``diffusers:FOLDER`` is any AutoencoderKL or AutoencoderTiny that a person saved to disk.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.checkpoint import read_card
from core.errors import InputError
from core.files import atomic
from core.weights import Store, weight
from models.experts.codecs.slim import LATENT_SCALE, Slim
from models.experts.codecs.taef2 import CHANNELS, Taef2

SLIM_FOLDER = Path(__file__).resolve().parents[2] / "checkpoints" / "codec-slim"
EXPORTED_SLIM = Path("codec") / "slim"
"""Where an exported system holds the slim codec that it was trained on."""

log = logging.getLogger(__name__)


class Body(Protocol):
    """What a codec is made of: a module that encodes and decodes in its own latent units."""

    def encode(self, x: Tensor) -> Tensor:
        """Pixels in [-1,1] to latents."""

    def decode(self, z: Tensor) -> Tensor:
        """Latents to pixels."""


class Codec(nn.Module):
    """A frozen codec; gradients flow through ``encode`` and ``decode`` to their inputs.

    Args:
        name: as given to ``load_codec``.
        body: module with ``encode`` and ``decode``.
        channels: of the latent.
        stride: pixels per latent, each way.
        scale: latents leave as (z - shift) * scale.
        shift: see ``scale``.

    Attributes:
        id: name and 16 hex digits of the encoder's weights: it names the latents, and those of
            another id must not be mixed. A decoder may be refined without changing them.
    """

    def __init__(
        self,
        name: str,
        body: nn.Module,
        channels: int,
        stride: int,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        super().__init__()
        self.body = body.eval().requires_grad_(False)
        self.channels, self.stride = channels, stride
        self.scale, self.shift = scale, shift
        self.id = f"{name}@{tensors_sha(encoder_tensors(body))}"
        self.eval()

    def train(self, mode: bool = True) -> Codec:
        """Stays in evaluation mode whatever is asked: a codec is a fixed ruler."""
        return super().train(False)

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in [-1,1] to latents (B,C,H/stride,W/stride).

        Raises:
            InputError: a side is no multiple of the stride.
        """
        if x.shape[-1] % self.stride or x.shape[-2] % self.stride:
            raise InputError(
                f"codec {self.id} wants sides that are multiples of {self.stride}, got "
                f"{x.shape[-1]} x {x.shape[-2]}; choose another crop size"
            )
        return (self.body.encode(x) - self.shift) * self.scale  # type: ignore[operator]

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B,C,h,w) to pixels (B,3,h*stride,w*stride), about [-1,1], not clipped."""
        return self.body.decode(z / self.scale + self.shift)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """The round trip: what is left of pixels (B,3,H,W)."""
        return self.decode(self.encode(x))


def load_codec(name: str, store: Store, slim: Path = SLIM_FOLDER) -> Codec:
    """A codec, in evaluation mode, frozen, on the CPU, in float32.

    Args:
        name: ``slim``, ``taef2`` or ``diffusers:FOLDER``.
        store: weights folders (``taef2`` lies there).
        slim: checkpoint folder of the slim codec.

    Raises:
        InputError: unknown name, missing or foreign files.
    """
    kind, _, folder = name.partition(":")
    if kind == "slim" and not folder:
        return Codec("slim", load_slim(slim), CHANNELS, 8, LATENT_SCALE)
    if kind == "taef2" and not folder:
        return Codec("taef2", load_taef2(store), CHANNELS, 8, LATENT_SCALE)
    if kind == "diffusers" and folder:
        # Imported here: diffusers takes seconds, and only this codec needs it.
        from models.experts.codecs.diffusers import load_diffusers

        loaded = load_diffusers(Path(folder))
        return Codec(
            f"diffusers:{Path(folder).name}",
            loaded.body,
            loaded.channels,
            loaded.stride,
            loaded.scale,
            loaded.shift,
        )
    raise InputError(f"no codec {name!r}; there are slim, taef2 and diffusers:FOLDER")


def slim_of(system: Path) -> Path:
    """Folder of the slim codec for a system's folder: its own when it was exported, else ours."""
    own = system / EXPORTED_SLIM
    return own if own.is_dir() else SLIM_FOLDER


def load_slim(folder: Path = SLIM_FOLDER) -> Slim:
    """The slim codec's net from a checkpoint folder.

    Raises:
        InputError: no checkpoint there, or one of something else.
    """
    card = read_card(folder)
    if card.system != "codec":
        raise InputError(f"{folder} holds a {card.system!r} checkpoint, no codec; name another")
    net = Slim(**card.net)
    tensors = read_tensors(card.weights)
    try:
        net.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError as error:
        raise InputError(f"{card.weights} does not fit its card; train the codec again") from error
    return net


def load_taef2(store: Store) -> Taef2:
    """TAEF2 from the weights folder.

    Raises:
        InputError: its files are missing or damaged.
    """
    net = Taef2()
    for part in ("encoder", "decoder"):
        tensors = converted(f"taef2_{part}", store)
        getattr(net, part).load_state_dict({key: value.float() for key, value in tensors.items()})
    return net


def converted(name: str, store: Store) -> Mapping[str, Tensor]:
    """Tensors of a registered ``.pth`` file, kept as safetensors after the first time.

    The pickle is read with ``weights_only``, after its hash was checked, once; the safetensors file
    carries the hash of its source and is made again when that differs.

    Raises:
        InputError: the file is missing or damaged.
    """
    source, sha = store.locate(name), weight(name).sha256
    target = store.folders[0] / "converted" / f"{name}.safetensors"
    if target.is_file():
        try:
            with safe_open(target, "pt") as stream:
                if (stream.metadata() or {}).get("source_sha256") == sha:
                    return {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        except SafetensorError:
            log.warning("%s is damaged; converting %s again", target, source)
    tensors = torch.load(source, map_location="cpu", weights_only=True)
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    try:
        with atomic(target) as part:
            save_file(tensors, part, {"source_sha256": sha})
    except InputError:
        log.info("%s can't be written; %s is read anew each time", target.parent, source.name)
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        InputError: missing, or no safetensors file.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; get the checkpoint folder again") from error
    except SafetensorError as error:
        raise InputError(f"{path} is no safetensors file ({error}); get it again") from error


def encoder_tensors(body: nn.Module) -> Mapping[str, Tensor]:
    """What makes latents: the tensors of ``encoder`` and, in a KL autoencoder, ``quant_conv``."""
    return {
        name: tensor
        for name, tensor in body.state_dict().items()
        if name.startswith(("encoder", "quant_conv"))
    }


def tensors_sha(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits over names, shapes and values (as float32) of tensors, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(value.shape)} ".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]
