"""The metrics of videos that need no net."""

from __future__ import annotations

from core.weights import Store
from evaluation.metrics.brisque import Brisque
from evaluation.metrics.flicker import Flicker
from evaluation.metrics.leakage import Leakage
from evaluation.metrics.on_crops import OnCrops
from evaluation.metrics.psnr import Psnr
from evaluation.metrics.ssim import Ssim
from evaluation.metrics.success import Success
from evaluation.metrics.video_lmd import VideoLmd
from evaluation.videos import VideoMetric


def plain(store: Store | None = None) -> list[VideoMetric]:
    """The metrics that compare or look at pixels and landmarks only.

    Args:
        store: where BRISQUE's regression lies; without one it says what is missing when asked.
    """
    return [
        OnCrops(Psnr()),
        OnCrops(Ssim()),
        VideoLmd(),
        Leakage(),
        Flicker(),
        Success(),
        Brisque(store or Store(())),
    ]
