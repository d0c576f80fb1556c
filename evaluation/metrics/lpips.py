"""LPIPS: how unlike the source do edited pictures look to people?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.metrics.features import Features, content, torch_threads
from evaluation.metrics.rows import pooled
from evaluation.videos import Kind, VideoCase

BATCH = 16


class LpipsAlex:
    """LPIPS v0.1 with AlexNet between output and source, frame by frame, 0 or more (seldom above
    1); lower is better.

    Nets: torchvision's AlexNet (weight ``alexnet``) and LPIPS' learned weightings (weight
    ``lpips_alex``). Reference: the same frame of the source, so it says something of ``self`` cases
    only: elsewhere lips ought to differ.

    Preprocessing: crops of ``Viewing.crop`` as they are, RGB in [-1, 1]. Papers that measure whole
    frames have lower values, since most of a frame is not edited.

    What fools it: a copied source has 0; the mouth is a tenth of a crop, so background and skin
    outweigh it.

    Args:
        weights: safetensors file of AlexNet.
        lins: safetensors file of the weightings.
        features: folder where values are kept by both crops' content; None keeps none.
        threads: of torch.
        name: another one for other nets' weights.
    """

    better: Literal["higher", "lower", "one"] = "lower"
    needs: tuple[str, ...] = ("alexnet", "lpips_alex")
    kinds: tuple[Kind, ...] = ("self",)

    def __init__(
        self,
        weights: Path,
        lins: Path,
        features: Path | None = None,
        threads: int = 1,
        name: str = "lpips",
    ) -> None:
        self.name, self._files, self._threads = name, (weights, lins), threads
        self._kept = Features(features, "lpips_alex@1", weights, lins)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``lpips`` (T,)."""
        ours, theirs = case.output.crops, case.source.crops
        return {"lpips": self._kept.of(content(ours, theirs), lambda: self._compute(ours, theirs))}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lpips``: the mean over all frames."""
        return {self.name: float(pooled(rows, "lpips").mean())}

    def _compute(self, ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        found = []
        with torch_threads(self._threads):
            for start in range(0, len(ours), BATCH):
                pair = (_pictures(video[start : start + BATCH]) for video in (ours, theirs))
                found.append(self._net(*pair).numpy())
        return np.concatenate(found)

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the values are not kept yet.
        from models.experts.lpips import Lpips

        return Lpips(*self._files)


def _pictures(crops: np.ndarray) -> Any:
    """Crops (B,S,S,3) uint8 as (B,3,S,S) in [-1, 1]."""
    import torch

    pictures = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    return pictures.float() / 127.5 - 1
