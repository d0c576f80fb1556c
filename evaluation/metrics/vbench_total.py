"""VBench's six numbers in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from evaluation.metrics.vbench import OfVideo, mean
from evaluation.metrics.vbench_consistency import BackgroundConsistency, SubjectConsistency
from evaluation.metrics.vbench_motion import DynamicDegree, MotionSmoothness
from evaluation.metrics.vbench_quality import AestheticQuality, ImagingQuality
from evaluation.videos import Kind, VideoCase

RANGES: Mapping[type[OfVideo], tuple[float, float]] = {
    SubjectConsistency: (0.1462, 1.0),
    BackgroundConsistency: (0.2615, 1.0),
    MotionSmoothness: (0.706, 0.9975),
    DynamicDegree: (0.0, 1.0),
    AestheticQuality: (0.0, 1.0),
    ImagingQuality: (0.0, 1.0),
}
"""What becomes 0 and 1 (VBench's ``scripts/constant.py``)."""
NEEDS = tuple(weight for part in RANGES for weight in part.needs)


class VBenchTotal:
    """The mean of VBench's six numbers, each stretched to its range, about 0 to 1; higher is
    better. Reference: none.

    It stands where all six do, and is made of the very rows that they are made of. All count alike,
    as the FlashLips paper says ("the mean of the normalized metrics"); VBench itself counts the
    dynamic degree half and has more numbers. The totals that the paper prints can't be had from
    the six that it prints beside them, neither so nor by VBench's weights: compare ours with ours,
    and look at the six.

    What fools it: all that fools the six. One video that starts to move is worth a sixth of the
    whole at once, and a frozen picture has 1 or nearly so in three of them.

    Args: as of ``OfVideo``.
    """

    better: Literal["higher", "lower", "one"] = "higher"
    needs: tuple[str, ...] = NEEDS
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")
    whole = True

    def __init__(
        self,
        *weights: Path,
        features: Path | None = None,
        threads: int = 1,
        name: str = "vbench_total",
    ) -> None:
        self.name = name
        files = dict(zip(NEEDS, weights, strict=True))
        self._parts = [
            part(*(files[weight] for weight in part.needs), features=features, threads=threads)
            for part in RANGES
        ]

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``number`` (1,6): the video's own, in the order of ``RANGES``; ``weight`` (1,6): how much
        each counts."""
        found = [part.of_video(part.observe(case)["value"]) for part in self._parts]
        numbers, weights = np.array(found).T
        return {"number": numbers[None], "weight": weights[None]}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``vbench_total``; NaN where one of the six is."""
        numbers, weights = (
            np.concatenate([row[key] for row in rows]).T for key in ("number", "weight")
        )
        means = [mean(*both) for both in zip(numbers, weights, strict=True)]
        ends = np.array(list(RANGES.values())).T
        return {self.name: float(((np.array(means) - ends[0]) / (ends[1] - ends[0])).mean())}
