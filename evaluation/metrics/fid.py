"""FID: are the edited frames, all together, distributed as real ones are?"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics.features import Features, content, torch_threads
from evaluation.metrics.gaussians import Gaussians
from evaluation.videos import Seen

BATCH = 16


class Fid(Gaussians):
    """Fréchet Inception distance of face crops, 0 or more; lower is better.

    Net: the InceptionV3 of 2015-12-05 that FID is defined by (weight ``inception_v3_fid``, from
    torch-fidelity), its 2048 numbers a picture. Reference: the source's crops of all cases, all
    frames of them, whether a face was found or not; in cross and silent cases, too.

    Preprocessing: crops of ``Viewing.crop`` as they are, RGB uint8, stretched to 299 px as
    TensorFlow 1 did, (x - 128) / 128. Published FIDs of lip-sync use other crops or whole frames,
    and JPEG or not: compare values of one table only.

    What fools it: few frames. Below 2049 of them the covariances are singular and the value is far
    too high (``note`` says so, ``fid_vectors`` counts). Neighbouring frames are nearly the same, so
    a hundred clips of a hundred frames weigh less than they count. An editor that copies its source
    has 0, and one that never moves the mouth comes close.

    Args:
        weights: safetensors file with the published keys.
        features: folder where vectors are kept by the crops' content; None keeps none.
        threads: of torch.
        name: another one for another net's weights.
    """

    needs: tuple[str, ...] = ("inception_v3_fid",)

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = "fid"
    ) -> None:
        self.name, self._weights, self._threads = name, weights, threads
        self._kept = Features(features, "inception_2048@1", weights)

    def _vectors(self, seen: Seen) -> np.ndarray:
        return self._kept.of(content(seen.crops), lambda: self._compute(seen.crops))

    def _compute(self, crops: np.ndarray) -> np.ndarray:
        import torch

        with torch_threads(self._threads):
            pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
            return np.concatenate([self._net(part).numpy() for part in pictures.split(BATCH)])

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the vectors are not kept yet.
        from models.experts.inception import FidFeatures

        return FidFeatures(self._weights)
