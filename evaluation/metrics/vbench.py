"""What VBench's numbers of a single video have in common.

VBench (Huang et al., CVPR 2024; vbench 0.1.5) looks at generated videos without a reference. Whole
frames are measured, not crops, as they are kept for metrics: ``Viewing.wide`` on the longer side,
512 px, where VBench reads files in full size. The nets of four of the six see 224 px, or 512 at
most, in either case.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import InputError
from evaluation.metrics.features import Features, content
from evaluation.videos import Kind, Seen, VideoCase

BATCH = 8
"""Frames that a net sees at once."""


class OfVideo(ABC):
    """A number of each output by itself. Reference: none.

    Attributes:
        maker: net and version of its preprocessing.
        by_frame: whether the mean is one over all frames, as in VBench's consistencies; else over
            videos.

    Args:
        weights: safetensors files with the published keys, in the order of ``needs``.
        features: folder where values are kept by the frames' content; None keeps none.
        threads: of torch.
        name: another one for other weights.
    """

    name: str
    maker: str
    by_frame = False
    better: Literal["higher", "lower", "one"] = "higher"
    needs: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")
    whole = True

    def __init__(
        self, *weights: Path, features: Path | None = None, threads: int = 1, name: str = ""
    ) -> None:
        self.name = name or self.name
        self._files, self._threads = weights, threads
        self._kept = Features(features, self.maker, *weights)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``value`` (N,): of each frame, or of what lies between frames."""
        return {
            "value": case.once(f"{self.maker} {self._files}", lambda: self._values(case.output))
        }

    def _values(self, seen: Seen) -> np.ndarray:
        key = content(seen.frames, np.array(seen.fps))
        return self._kept.of(key, lambda: self._compute(seen))

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """One number under the metric's name; NaN where no video is long enough."""
        found = np.array([self.of_video(np.asarray(row["value"], np.float64)) for row in rows])
        return {self.name: mean(found[:, 0], found[:, 1])}

    def of_video(self, values: np.ndarray) -> tuple[float, float]:
        """A video's number, NaN where it has none, and how much it counts."""
        if not len(values):
            return float("nan"), 0.0
        return self._number(values), float(len(values)) if self.by_frame else 1.0

    def _number(self, values: np.ndarray) -> float:
        return float(values.mean())

    @abstractmethod
    def _compute(self, seen: Seen) -> np.ndarray:
        """See ``observe``."""


def mean(numbers: np.ndarray, weights: np.ndarray) -> float:
    """Mean of the finite numbers, (N,) both; NaN when there is none."""
    known = np.isfinite(numbers)
    return float(np.average(numbers[known], weights=weights[known])) if known.any() else np.nan


def batches(frames: np.ndarray) -> Iterator[Any]:
    """Frames (T,h,w,3) uint8 as tensors (B,3,h,w) in [0, 1]."""
    import torch

    for start in range(0, len(frames), BATCH):
        part = np.ascontiguousarray(frames[start : start + BATCH].transpose(0, 3, 1, 2))
        yield torch.from_numpy(part).float() / 255


def shorter(pictures: Any, side: int, mode: str) -> Any:
    """(B,3,h,w) with the shorter side brought to ``side``, and nothing averaged when they shrink,
    as VBench has it."""
    from torch.nn import functional as F

    high, wide = pictures.shape[2:]
    short = min(high, wide)
    size = (int(side * high / short), int(side * wide / short))
    return F.interpolate(pictures, size, mode=mode, align_corners=False)


def normalised(pictures: Any, mean_: Sequence[float], deviation: Sequence[float]) -> Any:
    """(B,3,h,w) by channels' mean and deviation."""
    import torch

    return (pictures - torch.tensor(mean_).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


def padded(pictures: Any, whole: int, least: int, seen: Seen) -> tuple[Any, tuple[slice, slice]]:
    """(B,3,h,w) with their rim repeated until each side is a multiple of ``whole``, and where they
    lie in it.

    Raises:
        InputError: a side is still shorter than ``least``.
    """
    from torch.nn import functional as F

    sides, places = [], []
    for size in (pictures.shape[3], pictures.shape[2]):
        more = -size % whole
        if size + more < least:
            raise InputError(
                f"{seen.path} is kept at {pictures.shape[3]} x {pictures.shape[2]} px for "
                f"measuring, its motion needs {least} each way; measure it in a larger size"
            )
        sides += [more // 2, more - more // 2]
        places.append(slice(more // 2, more // 2 + size))
    return F.pad(pictures, sides, mode="replicate"), (places[1], places[0])
