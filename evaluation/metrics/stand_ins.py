"""Files of random weights in the formats that are published, so that all of a metric but its
numbers' meaning can be tried where the real files are not.

Equal names and shapes give equal files. The nets behind ONNX and TorchScript are not the published
ones, only small nets that take and give the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.files import atomic
from models.experts.amt import Amt
from models.experts.clip_vision import AestheticHead, ClipVision
from models.experts.dino import Dino
from models.experts.face_nets import ArcFace512, FaceNet, FaceNet512, MobileFaceNet
from models.experts.hyper_iqa import HyperIQA
from models.experts.inception import Inception
from models.experts.lip_reader import LipReaderNet
from models.experts.lpips import AlexNet, Weightings
from models.experts.musiq import Musiq
from models.experts.raft import Raft
from models.experts.syncnet import SyncNet

POOL = 8
"""Pixels each way that a small net averages before it mixes them."""


class TinyClip(nn.Module):
    """Stands for I3D: means over a coarse grid of a clip, mixed into 400 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * 4 * 4 * 4, 400)

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        """(B,3,16,224,224) to (B,400); ``resize`` changes nothing."""
        if rescale:
            x = 2 * x - 1
        found = self.mix(torch.nn.functional.adaptive_avg_pool3d(x, 4).flatten(1))
        return found if return_features else found.softmax(1)


def drawn(shapes: Mapping[str, torch.Tensor], gain: float = 1.0) -> dict[str, Tensor]:
    """Tensors of a state dict, by name: layers keep a signal's spread (times ``gain``), norms
    change nothing, biases are 0."""
    return {name: _tensor(name, tuple(like.shape), gain) for name, like in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], gain: float) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if len(shape) < 2:
        return torch.full(shape, float(name.endswith(("weight", "running_var"))))
    values = _random(name, shape) * np.float32(gain / np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(values)


def _random(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return rng.standard_normal(shape, dtype=np.float32)


def _net(make: Callable[[], nn.Module], gain: float = 1.0) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with torch.device("meta"):
            shapes = make().state_dict()
        with atomic(path) as part:
            save_file(drawn(shapes, gain), part)

    return write


def _natural(path: Path) -> None:
    """A model of natural pictures: any mean, and a covariance that can be inverted."""
    with atomic(path) as part:
        mean = torch.from_numpy(_random("mean", (36,))).double()
        save_file({"mean": mean, "covariance": torch.eye(36, dtype=torch.float64)}, part)


def _weightings(path: Path) -> None:
    """LPIPS' are no less than 0, as the published ones."""
    with torch.device("meta"):
        shapes = Weightings().state_dict()
    with atomic(path) as part:
        save_file({name: value.abs() for name, value in drawn(shapes).items()}, part)


def _clip(path: Path) -> None:
    net = TinyClip()
    net.load_state_dict(drawn(net.state_dict()))
    with atomic(path) as part:
        torch.jit.save(torch.jit.script(net.eval()), str(part))


def _face(net: type[FaceNet], last: bool = False) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with atomic(path) as part:
            part.write_bytes(tiny_onnx(net.name, net.side, net.dim, last))

    return write


def tiny_onnx(name: str, side: int, numbers: int, last: bool) -> bytes:
    """An ONNX file of a net that averages squares of 8 px and mixes them into numbers.

    Args:
        name: what its weights are drawn from.
        side: of its pictures.
        numbers: how many it gives.
        last: whether channels come last, (1, side, side, 3), as from TensorFlow.
    """
    wide = 3 * (side // POOL) ** 2
    mix = _random(name, (wide, numbers)) / np.float32(np.sqrt(wide))
    shape = (1, side, side, 3) if last else (1, 3, side, side)
    nodes = [
        *([_node("Transpose", ["x"], "first", perm=[0, 3, 1, 2])] if last else []),
        _node(
            "AveragePool", ["first" if last else "x"], "coarse",
            kernel_shape=[POOL, POOL], strides=[POOL, POOL],
        ),
        _node("Flatten", ["coarse"], "flat"),
        _node("MatMul", ["flat", "mix"], "y"),
    ]  # fmt: skip
    tensor = b"".join(_number(1, n) for n in mix.shape) + _number(2, 1)
    tensor += _bytes(8, b"mix") + _bytes(9, mix.astype("<f4").tobytes())
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, b"tiny") + _bytes(5, tensor)
    graph += _bytes(11, _value("x", shape)) + _bytes(12, _value("y", (1, numbers)))
    return _number(1, 8) + _bytes(8, _number(2, 13)) + _bytes(7, graph)


def _node(kind: str, inputs: list[str], output: str, **lists: list[int]) -> bytes:
    """A NodeProto."""
    node = b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode())
    node += _bytes(4, kind.encode())
    for name, values in lists.items():
        numbers = b"".join(_number(8, value) for value in values)
        node += _bytes(5, _bytes(1, name.encode()) + numbers + _number(20, 7))
    return node


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto of float32."""
    places = b"".join(_bytes(1, _number(1, size)) for size in shape)
    kind = _bytes(1, _number(1, 1) + _bytes(2, places))
    return _bytes(1, name.encode()) + _bytes(2, kind)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    """A number of a protocol buffer."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A string or a message of a protocol buffer."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


STAND_INS: dict[str, Callable[[Path], None]] = {
    "inception_v3_fid": _net(Inception, 2**0.5),
    "i3d_torchscript": _clip,
    "auto_avsr_vsr": _net(LipReaderNet),
    "syncnet_v2": _net(SyncNet),
    "mobilefacenet": _face(MobileFaceNet),
    "arcface_w600k_r50": _face(ArcFace512),
    "facenet512": _face(FaceNet512, last=True),
    "hyper_iqa": _net(HyperIQA),
    "niqe_pristine": _natural,
    "alexnet": _net(AlexNet, 2**0.5),
    "lpips_alex": _weightings,
    "dino_vitb16": _net(Dino),
    "clip_vit_b32": _net(lambda: ClipVision("clip_vit_b32")),
    "clip_vit_l14": _net(lambda: ClipVision("clip_vit_l14")),
    "laion_aesthetic": _net(AestheticHead),
    "amt_s": _net(Amt),
    "raft_things": _net(Raft),
    "musiq_spaq": _net(Musiq),
}
"""Registered weight -> what writes such a file."""
