"""The gates of learning, measured: what ``make learn`` runs and ``bench/learn.py`` writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.contracts import Case
from evaluation.benchmarks.held_out import case_of
from evaluation.benchmarks.mask_free import mask_free
from evaluation.benchmarks.own_sound import numbers, own_sound
from evaluation.clip_data import ClipData, read_clips
from evaluation.null_audio import other_windows
from evaluation.observer import Observer
from evaluation.run import Options, measure
from flows.console import Console

NULL_DRAWS = 50
AUDIO_S = 3.9
"""Held-out seconds that the sound test renders; as much as every long clip has."""


@dataclass(frozen=True)
class Subject:
    """A clip in shards and the system that is measured on it."""

    name: str
    shards: Path
    system: Path


def held_out(
    subject: Subject, draw: Any, observer: Observer, select: Callable[[Any], bool] = lambda i: True
) -> dict[str, dict[str, float]]:
    """Numbers of systems and baselines: medians over the subject's clips, by system."""
    options = Options(select=select, draws=2)
    found = measure(subject.shards, draw.by_name(), observer, options)
    return {
        system: {
            key.rsplit(".", 1)[1]: value
            for key, value in found.values.items()
            if key.startswith(
                f"{found.corpus if len(found.clips) > 1 else found.clips[0]}.{system}."
            )
        }
        for system in found.systems
    }


def mask_free_numbers(
    shards: Path, draw: Any, observer: Observer, select: Callable[[Any], bool] = lambda i: True
) -> dict[str, float]:
    """The mask-removal claim, medians over clips."""
    found = [
        mask_free(clip, draw.driven, draw.codec, observer)
        for clip in read_clips(shards, select=select)
    ]
    return {
        "outside_psnr_minus_codec": float(
            np.median([f.outside_psnr - f.codec_psnr for f in found])
        ),
        "opening_r": float(np.median([f.r for f in found])),
        "opening_slope": float(np.median([f.slope for f in found])),
    }


def speech_by_speaker(folders: Sequence[Path]) -> dict[str, np.ndarray]:
    """Speech features of everybody, by speaker and clip."""
    return {
        f"{clip.speaker}/{clip.name}": np.asarray(clip["speech"], np.float32)
        for folder in folders
        for clip in read_clips(folder, fields=("speech", "crop", "landmarks", "opening"))
    }


def sound(
    clip: ClipData,
    draw: Any,
    observer: Observer,
    speech: Mapping[str, np.ndarray],
    console: Console,
) -> dict[str, float]:
    """The audio gate of one clip: own sound against other people's, shifted sound, the ridge.

    Rendered twice: by the mask-free editor (what a user gets) and by the masked one, in which
    nothing of the true mouth can leak.
    """
    clip = clip.limited(AUDIO_S)
    own = next(name for name in speech if name.endswith(f"/{clip.name}"))
    windows = other_windows(speech, own, len(clip.held_out), NULL_DRAWS)
    found = own_sound(clip, draw.spoken, windows, observer, console.counter(f"sound {clip.name}"))
    masked = case_of(clip, "masked", draw.spoken_masked(clip))
    return {**numbers(found), "masked_r": _r(masked, observer)}


def _r(case: Case, observer: Observer) -> float:
    from evaluation.metrics.opening import agreement

    return agreement(observer.output(case).opening, case.asked)[0]
