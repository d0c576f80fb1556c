"""FVD: are short edited clips, all together, distributed as real ones are?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import InputError
from evaluation.metrics.features import Features, content, torch_threads
from evaluation.metrics.gaussians import OURS, THEIRS, Gaussians
from evaluation.videos import Seen, VideoCase

WINDOW = slice(20, 36)
"""The frames that LatentSync's ``eval_fvd.py`` looks at."""
SIDE, NUMBERS = 224, 400


class Fvd(Gaussians):
    """Fréchet video distance of face crops, 0 or more; lower is better.

    Net: I3D on Kinetics-400, TorchScript (weight ``i3d_torchscript``, as StyleGAN-V and LatentSync
    use it), called with rescale=False, resize=False, return_features=True: 400 numbers a clip, its
    logits. Reference: the source's crops of all cases.

    Preprocessing, after LatentSync's ``eval_fvd.py``: frames 20 to 35 (16 of them, from 0), one
    clip a video; 224 px by area; RGB in [0, 1], though the net was trained on [-1, 1]; channels,
    time, rows, columns. Crops of ``Viewing.crop`` stand for the box of its face detector. A video
    of fewer than 36 frames gives no vector.

    What fools it: below 401 videos the covariances are singular and the value is far too high
    (``note`` says so, ``fvd_vectors`` counts). Published values lie apart by a factor of six for
    one and the same system, so compare values of one table only. It sees two thirds of a second of
    each video, hardly any sound's, and a copied source has 0.

    Args:
        weights: TorchScript file.
        features: folder where vectors are kept by the frames' content; None keeps none.
        threads: of torch.
        name: another one for another net's weights.
    """

    needs: tuple[str, ...] = ("i3d_torchscript",)

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = "fvd"
    ) -> None:
        self.name, self._weights, self._threads = name, weights, threads
        self._kept = Features(features, "i3d_latentsync@1", weights)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``output`` and ``reference`` (1,400) float32; (0,400) of videos that are too short."""
        if min(len(case.output), len(case.source)) < WINDOW.stop:
            return {key: np.zeros((0, NUMBERS), np.float32) for key in (OURS, THEIRS)}
        return super().observe(case)

    def _vectors(self, seen: Seen) -> np.ndarray:
        frames = seen.crops[WINDOW]
        return self._kept.of(content(frames), lambda: self._compute(frames))

    def _compute(self, frames: np.ndarray) -> np.ndarray:
        import torch

        clip = prepared(frames)
        with torch_threads(self._threads):
            found = self._net(
                torch.from_numpy(clip)[None], rescale=False, resize=False, return_features=True
            ).numpy()
        if found.shape != (1, NUMBERS):
            raise InputError(
                f"{self._weights} gives {found.shape} numbers for a clip rather than "
                f"(1, {NUMBERS}), so it is not FVD's I3D; get i3d_torchscript.pt again"
            )
        return np.asarray(found, np.float32)

    @cached_property
    def _net(self) -> Any:
        import torch

        try:
            return torch.jit.load(str(self._weights), map_location="cpu").eval()
        except RuntimeError as error:
            raise InputError(
                f"{self._weights} is no TorchScript file; get i3d_torchscript.pt again"
            ) from error


def prepared(frames: np.ndarray) -> np.ndarray:
    """I3D's input (3,16,224,224) float32 in [0, 1] from crops (16,S,S,3) uint8 RGB."""
    small = [cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames]
    clip = np.stack(small).astype(np.float32) / 255
    return np.ascontiguousarray(clip.transpose(3, 0, 1, 2))
