"""Metrics, one a file, and the list that a report of held-out time shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.contracts import Metric
from evaluation.metrics.lmd import Lmd
from evaluation.metrics.opening import Opening
from evaluation.metrics.outside import Outside
from evaluation.metrics.psnr import Psnr
from evaluation.metrics.sharpness import Sharpness
from evaluation.metrics.ssim import Ssim
from evaluation.observer import Observer

if TYPE_CHECKING:
    from core.weights import Store
    from evaluation.videos import Missing, VideoMetric

DIRECTIONS: Mapping[str, str] = {
    "psnr": "higher",
    "ssim": "higher",
    "lmd": "lower",
    "opening_r": "higher",
    "opening_slope": "one",
    "opening_error": "lower",
    "sharpness": "one",
    "outside_psnr": "higher",
}
"""Which way each number is better; "one": the nearer to 1 the better."""

TITLES: Mapping[str, str] = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "lmd": "LMD, % of crop",
    "opening_r": "opening r",
    "opening_slope": "opening slope",
    "opening_error": "opening error, %",
    "sharpness": "sharpness ratio",
    "outside_psnr": "PSNR outside M, dB",
}
"""How a report names each number."""


def standard(observer: Observer) -> tuple[Metric, ...]:
    """The metrics of held-out time; ``observer`` is shared, so a case is meshed once."""
    return (Psnr(), Ssim(), Lmd(observer), Opening(observer), Sharpness(), Outside())


def of_videos(
    store: Store, features: Path | None, threads: int = 1
) -> tuple[list[VideoMetric], list[Missing]]:
    """The metrics of videos that are made of nets.

    Args:
        store: weights.
        features: folder, usually ``runs/features``, where what nets make of videos is kept by
            content, so that a second run computes none of it; None keeps nothing.
        threads: that one net may use.

    Returns:
        Those whose weights are there, and what the others lack.

    Raises:
        InputError: a file with another hash than the registered one.
    """
    # Imported here: scipy.
    from evaluation.metrics import learned

    return learned.of_videos(store, features, threads)


def random_backbones(
    folder: Path,
    features: Path | None = None,
    threads: int = 1,
    only: Collection[str] | None = None,
) -> list[VideoMetric]:
    """The same metrics with random weights, as ``random/NAME``: they show that everything runs,
    and their numbers mean nothing.

    Args:
        folder: where files of weights are written in the published formats (3 GB for all of
            them, most of it CLIP's and the lip reader's); those that are there are used.
        features: as in ``of_videos``.
        threads: as in ``of_videos``.
        only: names of metrics, without ``random/``; None for all that need weights.
    """
    # Imported here: torch.
    from evaluation.metrics import learned

    return learned.random_backbones(folder, features, threads, only)
