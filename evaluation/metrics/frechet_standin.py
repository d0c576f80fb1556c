"""A Fréchet distance that needs no foreign weights; it is no FID and never called one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from evaluation.metrics.features import EVERY, Features, content, torch_threads
from evaluation.metrics.gaussians import Gaussians
from evaluation.videos import Seen

BATCH = 16
SIDE = 128


class LatentFrechet(Gaussians):
    """Fréchet distance of the slim codec's latents of face crops, 0 or more; lower is better.

    Net: the encoder of the slim codec that ships with the repository. A frame's vector is the mean
    and the standard deviation over places of each of its 32 channels: 64 numbers, in latent units.
    Reference: the source's crops of all cases, every fifth frame of either. Preprocessing: crops of
    ``Viewing.crop`` at 128 px, the codec's own size, RGB in [-1, 1].

    What fools it: the vectors know textures and colours, not faces: an eye in the wrong place costs
    nothing. Below 65 frames looked at the covariances are singular (``note``). A copied source has
    0. No other work reports it; it stands in where FID's weights are missing, and orders systems
    within one table.

    Args:
        features: folder where vectors are kept by the crops' content; None keeps none.
        threads: of torch.
    """

    name = "latent_frechet"

    def __init__(self, features: Path | None = None, threads: int = 1) -> None:
        self._features, self._threads = features, threads

    def _vectors(self, seen: Seen) -> np.ndarray:
        crops = np.stack([_small(crop) for crop in seen.crops[::EVERY]])
        kept = Features(self._features, f"latent_moments@3-{self._codec.id}")
        return kept.of(content(crops), lambda: self._compute(crops))

    def _compute(self, crops: np.ndarray) -> np.ndarray:
        import torch

        found = []
        with torch_threads(self._threads):
            pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
            for part in pictures.split(BATCH):
                latents = self._codec.encode(part.float() / 127.5 - 1).flatten(2)
                found.append(torch.cat([latents.mean(2), latents.std(2)], 1).numpy())
        return np.concatenate(found)

    @cached_property
    def _codec(self) -> Any:
        # Imported here: torch.
        from core.weights import Store
        from models.experts.codec import load_codec

        return load_codec("slim", Store(()))


def _small(crop: np.ndarray) -> np.ndarray:
    return cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
