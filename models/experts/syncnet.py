"""SyncNet v2 (Chung & Zisserman, "Out of time", 2016): lips and sound to vectors that meet in sync.

Written from the published geometry; a published checkpoint loads by its own keys. It wants 5 frames
of a 224 px face (BGR, 0 to 255) and the 20 MFCC vectors (10 ms apart) beside them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import InputError
from core.media.crop import warp
from models.experts.codec import read_tensors
from models.experts.sync import distance_matrix

RATE, FRAME_STEPS = 16_000, 4
WINDOW, SOUND_WINDOW = 5, 20
"""Frames and MFCC vectors that one pair of vectors is made from."""
SIDE = 224
BESIDE = 0.4
"""Of the face's half size, kept on either side of its box, twice that below and none above."""
OUTSIDE = 110
"""Grey value beyond the frame."""
STEADY = 13
"""Frames of the median over the box."""
BATCH = 32


class SyncNet(nn.Module):
    """The two nets; keys and shapes are those of ``syncnet_v2.model``."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_conv(nn.Conv2d(1, 64, 3, padding=1)), nn.Identity(),
            *_conv(nn.Conv2d(64, 192, 3, padding=1)), nn.MaxPool2d(3, (1, 2)),
            *_conv(nn.Conv2d(192, 384, 3, padding=1)),
            *_conv(nn.Conv2d(384, 256, 3, padding=1)),
            *_conv(nn.Conv2d(256, 256, 3, padding=1)), nn.MaxPool2d(3, 2),
            *_conv(nn.Conv2d(256, 512, (5, 4))),
        )  # fmt: skip
        self.netfcaud = _head()
        flat: dict[str, Any] = {"kernel_size": (1, 3, 3), "padding": (0, 1, 1)}
        self.netcnnlip = nn.Sequential(
            *_conv(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_conv(nn.Conv3d(256, 256, **flat)),
            *_conv(nn.Conv3d(256, 256, **flat)),
            *_conv(nn.Conv3d(256, 256, **flat)), nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_conv(nn.Conv3d(256, 512, (1, 6, 6))),
        )  # fmt: skip
        self.netfclip = _head()

    def lips(self, frames: Tensor) -> Tensor:
        """(B, 3, T, 224, 224) BGR 0..255 to (B, T - 4, 1024): one vector for each 5 frames."""
        found = self.netcnnlip(frames)[..., 0, 0].transpose(1, 2)
        return self.netfclip(found.flatten(0, 1)).unflatten(0, found.shape[:2])

    def sound(self, mfcc: Tensor) -> Tensor:
        """(B, 1, 13, 20) to (B, 1024)."""
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))


def _conv(layer: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm3d
    return layer, norm(layer.out_channels), nn.ReLU()


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncNetExpert:
    """A ``SyncExpert`` with SyncNet's weights.

    Args:
        weights: safetensors file with the published keys.
        threads: of torch.

    Raises:
        InputError: the file holds something else.
    """

    name = "syncnet_v2"

    def __init__(self, weights: Path, threads: int = 1) -> None:
        self.threads = threads
        net = SyncNet()
        try:
            net.load_state_dict(read_tensors(weights))
        except RuntimeError as error:
            raise InputError(f"{weights} is no SyncNet v2; convert syncnet_v2.model") from error
        self.net = net.eval().requires_grad_(False)

    def distances(
        self, frames: Iterable[np.ndarray], mesh: np.ndarray, sound: np.ndarray
    ) -> np.ndarray:
        """See ``SyncExpert.distances``."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                faces = np.stack(
                    [
                        warp(f, t, SIDE, OUTSIDE)
                        for f, t in zip(frames, face_boxes(mesh), strict=True)
                    ]
                )
                return distance_matrix(self._lips(faces), self._sound(sound, len(faces)))
        finally:
            torch.set_num_threads(before)

    def _lips(self, faces: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(faces) - WINDOW + 1, BATCH):
            piece = faces[start : start + BATCH + WINDOW - 1, :, :, ::-1]  # RGB to BGR
            given = torch.from_numpy(np.ascontiguousarray(piece.transpose(3, 0, 1, 2))).float()
            parts.append(self.net.lips(given[None])[0].numpy())
        return np.concatenate(parts)

    def _sound(self, sound: np.ndarray, frames: int) -> np.ndarray:
        steps = (frames - WINDOW) * FRAME_STEPS + SOUND_WINDOW
        vectors = mfcc(sound)[:steps]
        vectors = np.pad(vectors, ((0, steps - len(vectors)), (0, 0)), mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(vectors, SOUND_WINDOW, 0)[::FRAME_STEPS]
        given = torch.from_numpy(np.ascontiguousarray(views, np.float32))[:, None]
        parts = [self.net.sound(given[i : i + BATCH]).numpy() for i in range(0, len(given), BATCH)]
        return np.concatenate(parts)


def face_boxes(mesh: np.ndarray) -> np.ndarray:
    """Affine maps (T, 2, 3) from frame pixels to SyncNet's 224 px face.

    The published crop takes a detector's box; here the mesh's bounding square stands for it.

    Args:
        mesh: (T, 468, 3) in frame pixels.
    """
    from scipy.ndimage import median_filter

    low, high = mesh[..., :2].min(1), mesh[..., :2].max(1)
    box = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True) / 2], 1)
    x, y, half = median_filter(box, (STEADY, 1), mode="nearest").T
    scale = SIDE / (2 * half * (1 + BESIDE))
    out = np.zeros((len(mesh), 2, 3), np.float32)
    out[:, 0, 0] = out[:, 1, 1] = scale
    out[:, 0, 2] = -scale * (x - half * (1 + BESIDE))
    out[:, 1, 2] = -scale * (y - half)
    return out


@functools.cache
def _mel_filters(count: int = 26, bins: int = 512) -> np.ndarray:
    """Triangles on the HTK mel scale, 0 to 8 kHz, corners rounded down to FFT bins."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, count + 2) / 2595) - 1)
    edge = np.floor((bins + 1) * hertz / RATE)
    at = np.arange(bins // 2 + 1)[:, None]
    rise = (at - edge[:-2]) / np.maximum(np.diff(edge)[:-1], 1)
    fall = (edge[2:] - at) / np.maximum(np.diff(edge)[1:], 1)
    up = (at >= edge[:-2]) & (at < edge[1:-1])
    down = (at >= edge[1:-1]) & (at < edge[2:])
    return np.where(up, rise, np.where(down, fall, 0.0))


def mfcc(sound: np.ndarray) -> np.ndarray:
    """13 mel cepstra every 10 ms as SyncNet was trained on (python_speech_features' defaults).

    25 ms without a window, pre-emphasis .97, 26 filters, orthonormal DCT-II, lifter 22, the first
    replaced by the log energy; the sound counts as 16-bit numbers.

    Args:
        sound: (samples,) float in [-1, 1], 16 kHz.

    Returns:
        (steps, 13) float64.
    """
    from scipy.fft import dct

    signal = np.round(np.asarray(sound, np.float64) * 32768)
    signal = np.append(signal[:1], signal[1:] - 0.97 * signal[:-1])
    count = 1 + max(0, -(-(len(signal) - 400) // 160))
    signal = np.pad(signal, (0, max(0, (count - 1) * 160 + 400 - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, 400)[::160]
    power = np.abs(np.fft.rfft(frames, 512)) ** 2 / 512
    tiny = np.finfo(float).eps
    energy = power.sum(1)
    logs = np.log(np.where(power @ _mel_filters() == 0, tiny, power @ _mel_filters()))
    cepstra: np.ndarray = dct(logs, type=2, axis=1, norm="ortho")[:, :13]
    cepstra = cepstra * (1 + 11 * np.sin(np.pi * np.arange(13) / 22))
    cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstra
