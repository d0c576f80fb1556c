"""mask_free@1: does an editor that sees no mask change the lips, and only the lips?

In the same frames: outside M the raw output must be as near to the source as the codec alone, while
the measured mouth opening follows lips vectors of other frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.baselines import Renderer
from evaluation.benchmarks.held_out import case_of
from evaluation.clip_data import ClipData
from evaluation.metrics.opening import agreement
from evaluation.metrics.outside import Outside
from evaluation.observer import Observer

Driven = Callable[[ClipData, np.ndarray], np.ndarray]
"""(clip, frames (N,)) -> crops of the held-out frames, given the lips vectors of ``frames``."""


@dataclass(frozen=True)
class MaskFree:
    """What came out for one clip.

    Attributes:
        outside_psnr, codec_psnr: dB outside M, of the editor and of the codec alone.
        r, slope: measured opening on asked opening.
        output: (N,S,S,3). asked, measured: (N,) openings.
    """

    outside_psnr: float
    codec_psnr: float
    r: float
    slope: float
    output: np.ndarray
    asked: np.ndarray
    measured: np.ndarray


def mask_free(
    clip: ClipData, driven: Driven, codec: Renderer, observer: Observer, seed: int = 0
) -> MaskFree:
    """Asks each held-out frame for the lips of a training frame drawn by chance.

    Args:
        clip: the clip.
        driven: the mask-free editor.
        codec: the codec's own rendering of the held-out frames.
        observer: measures openings, of the asked frames too.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    frames = rng.choice(clip.train, len(clip.held_out))
    asked = observer.crops(clip["crop"][frames]).opening
    output = driven(clip, frames)
    measured = observer.crops(output).opening
    r, slope = agreement(measured, asked)
    outside = Outside()

    def psnr(crops: np.ndarray) -> float:
        row = outside.observe(case_of(clip, "mask_free", crops))
        return float(outside.reduce([row])["outside_psnr"])

    return MaskFree(psnr(output), psnr(codec(clip)), r, slope, output, asked, measured)
