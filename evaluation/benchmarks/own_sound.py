"""own_sound@1: does the mouth follow this sound, rather than any speech?

The same model renders the same held-out frames with the clip's own sound, with windows of other
people's speech that share no frame, and with its own sound shifted by ten frames either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.baselines import ridge_opening
from evaluation.benchmarks.held_out import case_of
from evaluation.clip_data import ClipData
from evaluation.metrics.lmd import Lmd
from evaluation.metrics.opening import agreement
from evaluation.null_audio import NullTest, effective_draws, null_test, shifted
from evaluation.observer import Observer

Spoken = Callable[[ClipData, np.ndarray | None], np.ndarray]
"""(clip, speech features (N,D) or None for its own) -> crops of the held-out frames."""

SHIFT = 10


@dataclass(frozen=True)
class OwnSound:
    """What came out for one clip.

    Attributes:
        r: opening r against other people's speech; lmd: the same for landmark distance.
        shifted_r: opening r with the sound ten frames early and late.
        ridge_r: opening r of the ridge from the clip's own speech.
        frames: held-out frames. output: rendered with its own sound.
    """

    r: NullTest
    lmd: NullTest
    shifted_r: tuple[float, float]
    ridge_r: float
    frames: int
    output: np.ndarray
    measured: np.ndarray


def own_sound(
    clip: ClipData,
    spoken: Spoken,
    others: Sequence[np.ndarray],
    observer: Observer,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> OwnSound:
    """Renders and measures.

    Args:
        clip: the clip.
        spoken: the audio-driven model.
        others: (N,D) windows of other people's speech, see ``null_audio.other_windows``.
        observer: measures landmarks.
        progress: told after each rendering.
    """
    metric = Lmd(observer)
    total, done = len(others) + 3, 0

    def tried(speech: np.ndarray | None) -> tuple[float, float, np.ndarray, np.ndarray]:
        nonlocal done
        case = case_of(clip, "spoken", spoken(clip, speech))
        opened = observer.output(case).opening
        r = agreement(opened, clip.truth_opening)[0]
        lmd = float(metric.reduce([metric.observe(case)])["lmd"])
        done += 1
        progress(done, total)
        return r, lmd, opened, case.output

    r, lmd, measured, output = tried(None)
    null = [tried(speech) for speech in others]
    own = np.asarray(clip["speech"], np.float32)
    moved = [tried(shifted(own, by)[clip.held_out])[0] for by in (-SHIFT, SHIFT)]
    worth = effective_draws(np.stack([track for _, _, track, _ in null])) if null else 0.0
    ridge_r = agreement(ridge_opening(clip), clip.truth_opening)[0]
    return OwnSound(
        r=null_test(r, np.array([n[0] for n in null]), "higher", worth),
        lmd=null_test(lmd, np.array([n[1] for n in null]), "lower", worth),
        shifted_r=(moved[0], moved[1]),
        ridge_r=ridge_r,
        frames=len(clip.held_out),
        output=output,
        measured=measured,
    )


def numbers(found: OwnSound) -> Mapping[str, float]:
    """The figures of a report, by name."""
    return {
        "opening_r": found.r.observed,
        "opening_r_p": found.r.p,
        "null_r_95": found.r.limit,
        "lmd": found.lmd.observed,
        "lmd_p": found.lmd.p,
        "null_draws": float(len(found.r.null)),
        "effective_draws": found.r.effective,
        "r_10_early": found.shifted_r[0],
        "r_10_late": found.shifted_r[1],
        "ridge_r": found.ridge_r,
        "frames": float(found.frames),
    }
