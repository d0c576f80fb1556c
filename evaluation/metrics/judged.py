"""Metrics that are a judge's score of each picture, without a reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from evaluation.metrics.features import Features, content
from evaluation.metrics.rows import pooled
from evaluation.videos import Kind, VideoCase

APART = 25
"""Frames from look to look: a video's quality hardly changes, and its judges are slow."""


class Judged(ABC):
    """The mean of a ``QualityExpert``'s score of the output's crops, one a second."""

    name: str
    better: Literal["higher", "lower", "one"]
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")
    _kept: Features

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``score`` (T,) of the frames looked at."""
        crops = case.output.crops[::APART]
        found = self._kept.of(
            content(crops), lambda: np.array([self._score(crop) for crop in crops])
        )
        return {"score": found}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """One number under the metric's name: the mean over those frames."""
        return {self.name: float(pooled(rows, "score").mean())}

    @abstractmethod
    def _score(self, picture: np.ndarray) -> float:
        """The judge's score of a picture (H, W, 3) uint8 RGB."""
