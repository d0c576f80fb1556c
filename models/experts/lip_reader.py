"""The lip reader that LipScore compares videos by: auto_avsr's visual encoder (Ma et al., 2023).

A 3D convolution and a ResNet-18 look at 88 px grey mouths, a conformer of 12 blocks reads them.
Written from the published geometry; a published checkpoint loads by its keys, and its decoder and
CTC head are left out. LipScore (KeySync) is the cosine of two videos' vectors, frame by frame.

Crops are made as auto_avsr's ``video_process.py`` and ``transforms.py`` do it, in colour up to the
cut as in KeySync's ``lipscore.py``, at 25 fps. Of 68 landmarks, averaged over 6 frames each way and
put back on the frame's own centre, 8 that hardly move are laid on a mean face of 256 px
(similarity, least median of squares); then 96 px around the mouth, of them the middle 88, grey,
(x / 255 - 0.421) / 0.165.

One thing differs: the published landmarks come from RetinaFace and FAN, here points of the face
mesh stand for them. Over 13 real clips the mean place of each of the 8 is within 3.4 px of the
mean face's. Frames without a face must have been filled in between their neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.errors import InputError
from models.experts.published import load_published

SIDE, CUT, CANVAS = 88, 96, 256
MEAN, STD = 0.421, 0.165
WIDTH, HEADS, DEPTH, INNER, KERNEL = 768, 12, 12, 3072, 31
REACH = 6
"""Frames each way that landmarks are averaged over."""
OFF_CENTRE = CUT // 2 + 5
"""Pixels that a mouth may lie off the mean face's middle, each way; auto_avsr's own limit."""
BATCH = 64
"""Frames that the convolutions see at once; the conformer sees all of them."""
GREY = np.array([0.2989, 0.587, 0.114], np.float32)
FAN = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(6, 195, 4, 1, 240, 97, 2, 326, 460),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""The mesh's points that stand for the 68 landmarks: jaw, brows, nose, eyes, mouth."""
STABLE = (28, 33, 36, 39, 42, 45, 48, 54)
MOUTH = slice(48, 68)
MEAN_FACE = np.array(
    [
        [128.489, 106.925], [128.870, 137.303], [92.522, 94.369], [112.772, 94.944],
        [145.525, 94.535], [166.677, 93.566], [107.168, 157.196], [150.758, 156.795],
    ]
)  # fmt: skip
"""Where STABLE lie in the mean face of auto_avsr's training, ``20words_mean_face.npy``."""


class BasicBlock(nn.Module):
    """ResNet-18's block with SiLU for ReLU. (B,I,H,W) -> (B,O,H/stride,W/stride)."""

    def __init__(self, wide_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or wide_in != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(wide_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = F.silu(self.bn1(self.conv1(x)))
        return F.silu(self.bn2(self.conv2(y)) + self.downsample(x))


class Trunk(nn.Module):
    """ResNet-18 without its stem. (B,64,22,22) -> (B,512)."""

    def __init__(self) -> None:
        super().__init__()
        for i, (wide, width) in enumerate(itertools.pairwise((64, 64, 128, 256, 512)), 1):
            first = BasicBlock(wide, width, 1 if i == 1 else 2)
            self.add_module(f"layer{i}", nn.Sequential(first, BasicBlock(width, width, 1)))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        for layer in self.children():
            x = layer(x)
        return x.mean((2, 3))


class Frontend(nn.Module):
    """Mouths to a vector each; a frame sees two before and two behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, 64, (5, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(64),
            nn.SiLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = Trunk()

    def forward(self, mouths: Tensor) -> Tensor:
        """(B, T + 4, 88, 88) with two frames more at both ends (zeros where there are none) to
        (B, T, 512)."""
        x = self.frontend3D(mouths[:, None]).transpose(1, 2)
        return self.trunk(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Attention(nn.Module):
    """Self-attention that knows how far apart two frames are (Transformer-XL). Keeps (B,T,768)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear_q, self.linear_k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.linear_v, self.linear_out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.linear_pos = nn.Linear(WIDTH, WIDTH, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(HEADS, WIDTH // HEADS))
        self.pos_bias_v = nn.Parameter(torch.zeros(HEADS, WIDTH // HEADS))

    def forward(self, x: Tensor, apart: Tensor) -> Tensor:
        """Frames (B,T,768), and ``distances(T)``."""
        q, k = _heads(self.linear_q(x)), _heads(self.linear_k(x))
        v, places = _heads(self.linear_v(x)), _heads(self.linear_pos(apart))
        # Row r of ``apart`` stands for T - 1 - r frames: query i finds key j at T - 1 - i + j.
        time = torch.arange(x.shape[1], device=x.device)
        row = (len(time) - 1 - time[:, None] + time).expand(*q.shape[:2], -1, -1)
        near = ((q + self.pos_bias_v[:, None]) @ places.transpose(-2, -1)).gather(-1, row)
        alike = (q + self.pos_bias_u[:, None]) @ k.transpose(-2, -1)
        weight = ((alike + near) / (WIDTH // HEADS) ** 0.5).softmax(-1)
        out: Tensor = self.linear_out((weight @ v).transpose(1, 2).flatten(2))
        return out


def _heads(x: Tensor) -> Tensor:
    """(B,T,768) to (B,12,T,64)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """768 to 3072, ReLU, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = self.w_2(F.relu(self.w_1(x)))
        return out


class Convolution(nn.Module):
    """Over time: gated, each channel by itself, and mixed. Keeps (B,T,768)."""

    def __init__(self) -> None:
        super().__init__()
        # The published files spell them so.
        self.pointwise_cov1 = nn.Conv1d(WIDTH, 2 * WIDTH, 1)
        self.depthwise_conv = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2, groups=WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.pointwise_cov2 = nn.Conv1d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.glu(self.pointwise_cov1(x.transpose(1, 2)), 1)
        x = self.pointwise_cov2(F.silu(self.norm(self.depthwise_conv(x))))
        return x.transpose(1, 2)


class Block(nn.Module):
    """The conformer's: half a feed-forward, attention, convolution, the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.conv_module = Attention(), Convolution()
        self.feed_forward, self.feed_forward_macaron = FeedForward(), FeedForward()
        self.norm_ff, self.norm_mha, self.norm_ff_macaron = _norm(), _norm(), _norm()
        self.norm_conv, self.norm_final = _norm(), _norm()

    def forward(self, x: Tensor, apart: Tensor) -> Tensor:
        """Keeps (B,T,768); see ``Attention``."""
        x = x + 0.5 * self.feed_forward_macaron(self.norm_ff_macaron(x))
        x = x + self.self_attn(self.norm_mha(x), apart)
        x = x + self.conv_module(self.norm_conv(x))
        out: Tensor = self.norm_final(x + 0.5 * self.feed_forward(self.norm_ff(x)))
        return out


def _norm() -> nn.LayerNorm:
    return nn.LayerNorm(WIDTH, eps=1e-12)


class Encoder(nn.Module):
    """Front end and conformer; in two steps, so that long videos fit."""

    def __init__(self) -> None:
        super().__init__()
        self.frontend = Frontend()
        self.embed = nn.Sequential(nn.Linear(512, WIDTH))
        self.encoders = nn.ModuleList(Block() for _ in range(DEPTH))
        self.after_norm = _norm()

    def read(self, seen: Tensor) -> Tensor:
        """The front end's (B,T,512) to (B,T,768)."""
        x = self.embed(seen) * WIDTH**0.5
        apart = distances(x.shape[1]).to(x)
        for block in self.encoders:
            x = block(x, apart)
        out: Tensor = self.after_norm(x)
        return out


class LipReaderNet(nn.Module):
    """(B,T,88,88) normalised mouths to (B,T,768); keys are those of the published files."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, mouths: Tensor) -> Tensor:
        """See the class."""
        return self.encoder.read(self.encoder.frontend(F.pad(mouths, (0, 0, 0, 0, 2, 2))))


def distances(frames: int) -> Tensor:
    """Sinusoids of T - 1, T - 2, ..., -(T - 1) frames: (1, 2T - 1, 768)."""
    apart = torch.arange(frames - 1, -frames, -1, dtype=torch.float32)[:, None]
    pitch = torch.exp(torch.arange(0, WIDTH, 2) * -(np.log(10_000.0) / WIDTH))
    return torch.stack([(apart * pitch).sin(), (apart * pitch).cos()], -1).flatten(1)[None]


def unread() -> frozenset[str]:
    """Keys of the published files that the encoder has no use for: decoder and CTC head."""
    both = [f"{a}.linear_{x}" for a in ("self_attn", "src_attn") for x in ("q", "k", "v", "out")]
    parts = [*both, "feed_forward.w_1", "feed_forward.w_2", "norm1", "norm2", "norm3"]
    layers = [f"decoder.decoders.{i}.{part}" for i in range(6) for part in parts]
    layers += ["decoder.after_norm", "decoder.output_layer", "ctc.ctc_lo"]
    pairs = {f"{layer}.{end}" for layer in layers for end in ("weight", "bias")}
    return frozenset(pairs | {"decoder.embed.0.weight"})


class LipReader:
    """Reads lips, and gives what it has in mind for each frame rather than words.

    auto_avsr publishes several checkpoints of this shape, KeySync's LipScore names one more
    (``vsr_trlrs2lrs3vox2avsp_base_updated.pth``); scores from two of them can't be compared.

    Args:
        weights: safetensors file with the published keys.
        threads: of torch.

    Raises:
        InputError: the file holds something else.
    """

    name, dim = "auto_avsr_vsr", WIDTH

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self.threads = threads
        self.net = load_published(
            LipReaderNet, weights, "no auto_avsr lip reader; convert its .pth file", unread()
        )

    def embed(self, mouths: np.ndarray) -> np.ndarray:
        """Mouths (T,88,88) as ``mouth_crops`` gives them to vectors (T,768) float32."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                padded = F.pad(torch.from_numpy(mouths)[None], (0, 0, 0, 0, 2, 2))
                pieces = [
                    self.net.encoder.frontend(padded[:, i : i + BATCH + 4])
                    for i in range(0, len(mouths), BATCH)
                ]
                vectors: np.ndarray = self.net.encoder.read(torch.cat(pieces, 1))[0].numpy()
                return vectors
        finally:
            torch.set_num_threads(before)


def mouth_crops(frames: Iterable[np.ndarray], mesh: np.ndarray) -> np.ndarray:
    """The lip reader's input from a video at 25 fps.

    Args:
        frames: T pictures (H, W, 3) uint8 RGB.
        mesh: (T, 468, 2 or 3) landmarks in their pixels.

    Returns:
        (T, 88, 88) float32, grey, normalised.

    Raises:
        InputError: a face is so turned or bent that its mouth is far from where it belongs.
    """
    crops = [
        _mouth(frame, points, i)
        for i, (frame, points) in enumerate(zip(frames, _steadied(mesh), strict=True))
    ]
    return (np.stack(crops) @ GREY / np.float32(255) - np.float32(MEAN)) / np.float32(STD)


def _steadied(mesh: np.ndarray) -> np.ndarray:
    """68 landmarks a frame (T,68,2): shapes averaged over time, each on its own frame's centre."""
    points = mesh[:, FAN, :2].astype(np.float64)
    out = np.empty_like(points)
    for i in range(len(points)):
        reach = min(REACH, i, len(points) - 1 - i)
        shape = points[i - reach : i + reach + 1].mean(0)
        out[i] = shape + points[i].mean(0) - shape.mean(0)
    return out


def _mouth(frame: np.ndarray, points: np.ndarray, index: int) -> np.ndarray:
    """The middle 88 px of the mouth (88,88,3), values 0 to 255 as float32."""
    turn = cv2.estimateAffinePartial2D(points[list(STABLE)], MEAN_FACE, method=cv2.LMEDS)[0]
    centre = np.full(2, np.inf)
    if turn is not None:
        centre = (points[MOUTH] @ turn[:, :2].T + turn[:, 2]).mean(0)
    if not (np.abs(centre - CANVAS / 2) <= OFF_CENTRE).all():
        raise InputError(
            f"frame {index}: the mouth is not where a face has it, so lips can't be read; "
            "leave out clips that show no face or one from the side"
        )
    # Floats, so that nothing is rounded; not antialiased, as published.
    face = cv2.warpAffine(frame.astype(np.float32), turn, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR)
    x, y = (round(c - CUT / 2) + (CUT - SIDE) // 2 for c in centre.tolist())
    return face[y : y + SIDE, x : x + SIDE]


def agreement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """LipScore of each frame: cosines (T,) of vectors (T,768) of two videos, 1 for the same lips.

    Raises:
        InputError: the videos differ in length.
    """
    if len(ours) != len(theirs):
        raise InputError(
            f"videos of {len(ours)} and {len(theirs)} frames can't be compared frame by frame; "
            "cut them to one length"
        )
    long = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines: np.ndarray = (ours * theirs).sum(1) / np.maximum(long, 1e-8)
    return cosines
