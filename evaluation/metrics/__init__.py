"""Metrics, one a file, and the list that a report of held-out time shows."""

from __future__ import annotations

from collections.abc import Mapping

from core.contracts import Metric
from evaluation.metrics.lmd import Lmd
from evaluation.metrics.opening import Opening
from evaluation.metrics.outside import Outside
from evaluation.metrics.psnr import Psnr
from evaluation.metrics.sharpness import Sharpness
from evaluation.metrics.ssim import Ssim
from evaluation.observer import Observer

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
