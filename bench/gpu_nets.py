"""What bench/gpu.py times: chains of encode, edit and decode, with random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.experts.codecs.slim import LATENT_SCALE, Slim
from models.experts.codecs.taef2 import CHANNELS
from models.flashlips.net import Editor
from models.flashlips.parts import freeze, images, pixels

LIPS = 12
STRIDE = 8
SDXL_SCALE = 0.13025


@dataclass(frozen=True)
class Sizes:
    """Sizes of the nets, and the crop's side in pixels for each of the sizes that rows name."""

    sdxl: Mapping[str, Any]
    tiny: Mapping[str, Any]
    unet: Mapping[str, Any]
    vit: Mapping[str, Any]
    reference: Mapping[str, int]
    side: Mapping[int, int]


PAPER = Sizes(
    sdxl={"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    tiny={},
    unet={},
    vit={},
    reference={},
    side={512: 512, 256: 256},
)
SMALL = Sizes(
    sdxl={"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4},
    tiny={
        **{f"{part}_block_out_channels": (8, 8, 8, 8) for part in ("encoder", "decoder")},
        **{f"num_{part}_blocks": (1, 1, 1, 1) for part in ("encoder", "decoder")},
    },
    unet={"channels": (8, 8, 16), "blocks": 1, "mid": 1, "groups": 4},
    vit={"narrow": 8, "dim": 16, "depth": 1, "heads": 2, "groups": 4},
    reference={"width": 8, "blocks": 1},
    side={512: 32, 256: 32},
)


# -- nets -----------------------------------------------------------------------------------------


class Sdxl(nn.Module):
    """The SDXL VAE as its config has it; latents are the distribution's mode, scaled."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        from diffusers import AutoencoderKL

        net = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            **sizes.sdxl,
        )
        # Its own ``encode`` makes a distribution with a spread that nobody reads.
        self.encoder, self.quant_conv = net.encoder, net.quant_conv
        self.decoder, self.post_quant_conv = net.decoder, net.post_quant_conv

    def encode(self, x: Any) -> Any:
        """(B,3,H,W) in [-1,1] -> (B,4,H/8,W/8)."""
        return self.quant_conv(self.encoder(x))[:, :4] * SDXL_SCALE

    def decode(self, z: Any) -> Any:
        """(B,4,h,w) -> (B,3,8h,8w)."""
        return self.decoder(self.post_quant_conv(z / SDXL_SCALE))


class Tiny(nn.Module):
    """TAESD's layout: stride 8, 4 channels in the SDXL VAE's own latent space."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        from diffusers import AutoencoderTiny

        net = AutoencoderTiny(latent_channels=4, **sizes.tiny)
        self.encoder, self.decoder = net.encoder, net.decoder

    def encode(self, x: Any) -> Any:
        """(B,3,H,W) in [-1,1] -> (B,4,H/8,W/8)."""
        return self.encoder(x)

    def decode(self, z: Any) -> Any:
        """(B,4,h,w) -> (B,3,8h,8w)."""
        return self.decoder(z)


class OurSlim(Slim):
    """The slim codec with the scale of its latents; 32 channels."""

    def encode(self, x: Any) -> Any:
        """(B,3,H,W) in [-1,1] -> (B,32,H/8,W/8)."""
        return super().encode(x) * LATENT_SCALE

    def decode(self, z: Any) -> Any:
        """(B,32,h,w) -> (B,3,8h,8w)."""
        return super().decode(z / LATENT_SCALE)


def editor(sizes: Sizes, latent: int = 4, vit: bool = False) -> Editor:
    """The paper's editor; its last layer, zeros when fresh, is given weights, so errors show."""
    backbone = {"vit": sizes.vit} if vit else {"unet": sizes.unet}
    net = Editor(latent, LIPS, reference=sizes.reference, **backbone)
    nn.init.normal_(net.backbone.conv_out.weight, std=0.02)
    return net


NETS: dict[str, Callable[[Sizes], nn.Module]] = {
    "sdxl": Sdxl,
    "tiny": Tiny,
    "slim": lambda sizes: OurSlim(),
    "unet": editor,
    "unet-slim": lambda sizes: editor(sizes, CHANNELS),
    "vit": lambda sizes: editor(sizes, vit=True),
}


# -- units ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """A step of a pipeline: what it does, with which net, at which size of the crop."""

    kind: Literal["encode", "edit", "decode"]
    net: str
    size: int

    @property
    def channels(self) -> int:
        """Of the latent."""
        return CHANNELS if "slim" in self.net else 4


@dataclass(frozen=True)
class Form:
    """How a net's weights and activations are kept."""

    half: bool = False
    channels_last: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16 or float32."""
        return torch.bfloat16 if self.half else torch.float32

    @property
    def layout(self) -> torch.memory_format:
        """Of weights and activations."""
        return torch.channels_last if self.channels_last else torch.contiguous_format


class Step(nn.Module):
    """A unit as a module: (x as ``given``, lips (B,12)) -> y.

    Frames are uint8 (B,S,S,3), which to a convolution look channels_last: inputs are brought into
    the form's own layout, or the plain variants would be channels_last as well.
    """

    def __init__(self, unit: Unit, net: nn.Module, form: Form, side: int) -> None:
        super().__init__()
        self.unit, self.net, self.form = unit, net, form
        if unit.kind == "edit":
            device, latents = next(net.parameters()).device, side // STRIDE
            z = torch.randn(1, unit.channels, latents, latents, device=device, dtype=form.dtype)
            with torch.no_grad():
                self.register_buffer("features", net.reference(z))

    def given(self, x: Any) -> Any:
        """A latent in the form's type and layout, from wherever it comes; frames stay as they are.

        Done before ``forward``, which would else be compiled anew for each neighbour.
        """
        if self.unit.kind == "encode":
            return x
        return x.to(self.form.dtype).contiguous(memory_format=self.form.layout)

    def forward(self, x: Any, lips: Any) -> Any:
        """One unit on one batch."""
        if self.unit.kind == "encode":
            x = images(x).to(self.form.dtype)
            return self.net.encode(x.contiguous(memory_format=self.form.layout))
        if self.unit.kind == "decode":
            return pixels(self.net.decode(x).float())
        features = self.features.expand(len(x), -1, -1, -1)
        return self.net(x, features, lips.to(self.form.dtype))


class Workshop:
    """Makes nets, and steps of them in each form, once.

    Args:
        sizes: of the nets. device: where they live.
        compiler: keywords of ``torch.compile``.
    """

    def __init__(self, sizes: Sizes, device: str, compiler: Mapping[str, Any]) -> None:
        self.sizes, self.device, self.compiler = sizes, device, compiler
        self.net = cache(self._net)
        self.step = cache(self._step)
        self.compiled = cache(self._compiled)

    def _net(self, name: str, form: Form) -> nn.Module:
        if form != Form():
            net = copy.deepcopy(self.net(name, Form()))
            return net.to(dtype=form.dtype, memory_format=form.layout)
        torch.manual_seed(0)
        with torch.device(self.device):
            return freeze(NETS[name](self.sizes))

    def _step(self, unit: Unit, form: Form) -> Step:
        torch.manual_seed(1)
        return Step(unit, self.net(unit.net, form), form, self.sizes.side[unit.size])

    def _compiled(self, unit: Unit, form: Form) -> Any:
        return torch.compile(self.step(unit, form), **self.compiler)

    def inputs(self, unit: Unit, count: int) -> tuple[Any, Any]:
        """What the first unit of a pipeline is given: ``count`` frames or latents, and lips."""
        side, lips = self.sizes.side[unit.size], torch.randn(count, LIPS, device=self.device)
        if unit.kind == "encode":
            shape = (count, side, side, 3)
            return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device), lips
        latents = side // STRIDE
        return torch.randn(count, unit.channels, latents, latents, device=self.device), lips


def counted_gflop(unit: Unit, sizes: Sizes) -> float:
    """Of a frame (a multiplication and an addition are two), counted on the meta device."""
    workshop = Workshop(sizes, "meta", {})
    (x, lips), step = workshop.inputs(unit, 1), workshop.step(unit, Form())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        step(step.given(x), lips)
    return counter.get_total_flops() / 1e9
