"""HyperIQA: how good does a picture look, by a net that learned people's opinions?"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.metrics.features import Features
from evaluation.metrics.judged import Judged


class HyperIqa(Judged):
    """HyperIQA of face crops, 0 to 100; higher is better. Reference: none, the output alone.

    Net: HyperIQA on KonIQ-10k (weight ``hyper_iqa``, from ``koniq_pretrained.pkl``).

    Preprocessing: of each crop of ``Viewing.crop`` the middle 224 px, RGB, ImageNet's mean and
    deviation; smaller crops are enlarged. LatentSync scores three frames of a video so, whole
    frames rather than crops; others (pyiqa) score from 0 to 1, a hundredth of this.

    What fools it: sharpening and a smooth, well-lit face; it never asks whose face it is, nor
    whether the mouth moves. A source in low quality has a low value, so look at the source's.

    Args:
        weights: safetensors file with the published keys.
        features: folder where scores are kept by the crops' content; None keeps none.
        threads: of torch.
        name: another one for another net's weights.
    """

    better: Literal["higher", "lower", "one"] = "higher"
    needs: tuple[str, ...] = ("hyper_iqa",)

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = "hyper_iqa"
    ) -> None:
        self.name, self._weights, self._threads = name, weights, threads
        self._kept = Features(features, "hyper_iqa@1", weights)

    def _score(self, picture: np.ndarray) -> float:
        return float(self._judge.score(picture))

    @cached_property
    def _judge(self) -> Any:
        # Imported here: torch, needed only where the scores are not kept yet.
        from models.experts.hyper_iqa import HyperIQAExpert

        return HyperIQAExpert(self._weights, self._threads)
