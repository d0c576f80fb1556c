"""Does the mouth follow *this* sound? Other people's speech, shuffled speech, shifted speech.

A model driven by wrong audio still scores some correlation: mouths open and close at syllable rate
whoever talks. What counts is by how much the right audio beats a null of wrong ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.stats import permutation_p

P_WANTED = 0.02
"""A null needs at least 49 draws to reach it: p is never below 1 / (1 + draws)."""

BLOCK_FRAMES = 12
"""Frames kept together when speech is shuffled: long enough to stay speech, too short to be it."""

Track = np.ndarray


def other_windows(
    speech: Mapping[str, np.ndarray], own: str, frames: int, most: int | None = None, seed: int = 0
) -> list[np.ndarray]:
    """Windows of other speakers' speech that share no frame.

    Args:
        speech: (T_i,D) features by speaker.
        own: the speaker who is left out.
        frames: length of a window; a shorter rest is dropped.
        most: at most this many, drawn by chance; all when None.
        seed: of that chance.

    Returns:
        Arrays (frames,D), one independent draw each.
    """
    found = [
        track[start : start + frames]
        for name, track in sorted(speech.items())
        if name != own
        for start in range(0, len(track) - frames + 1, frames)
    ]
    if most is not None and len(found) > most:
        keep = np.sort(np.random.default_rng(seed).permutation(len(found))[:most])
        found = [found[i] for i in keep]
    return found


def permuted_blocks(
    frames: int, draws: int, block: int = BLOCK_FRAMES, seed: int = 0
) -> np.ndarray:
    """Orders of a track's frames in which no block stays in its place, all different.

    Args:
        frames: T.
        draws: how many are wanted; fewer come when fewer exist.
        block: frames that stay together, about.
        seed: of the orders.

    Returns:
        (draws or fewer, T) int64 indices.
    """
    rng = np.random.default_rng(seed)
    blocks = np.array_split(np.arange(frames), max(1, round(frames / block)))
    seen: dict[tuple[int, ...], None] = {}
    wanted = min(draws, derangements(len(blocks)))
    while len(seen) < wanted:
        order = rng.permutation(len(blocks))
        if not np.any(order == np.arange(len(blocks))):
            seen[tuple(int(i) for i in order)] = None
    orders = [np.concatenate([blocks[i] for i in order]) for order in seen]
    return np.stack(orders) if orders else np.empty((0, frames), np.int64)


def derangements(count: int) -> int:
    """How many orders of ``count`` things leave none in its place: 0, 1, 2, 9, 44, 265 ..."""
    return round(math.factorial(count) / math.e) if 0 < count < 20 else (10**18 if count else 0)


def shifted(track: Track, by: int) -> Track:
    """The track ``by`` frames later (earlier when negative), its ends repeated; first axis is time.

    ``by`` = 10 is 0.4 s at 25 fps: what was heard at frame t is now heard at t + 10.
    """
    at = (np.arange(len(track)) - by).clip(0, len(track) - 1)
    return np.asarray(track)[at]


def effective_draws(null: np.ndarray) -> float:
    """How many independent draws the null's tracks are worth.

    The participation ratio of the draws' correlation matrix, n^2 / sum of squared correlations,
    with the correlations that chance alone gives subtracted: equal tracks count once, unrelated
    tracks count each.

    Args:
        null: (n,T) one measured track (opening) for each draw of the null.
    """
    tracks = np.asarray(null, np.float64)
    tracks = tracks[:, np.isfinite(tracks).all(axis=0)]
    tracks = tracks[tracks.std(axis=1) > 0] if tracks.shape[1] else tracks[:0]
    count, frames = tracks.shape
    if count < 2:
        return float(count)
    square = np.atleast_2d(np.corrcoef(tracks)) ** 2
    by_chance = 1 / max(frames - 1, 1)
    off = np.maximum(square[~np.eye(count, dtype=bool)] - by_chance, 0).sum()
    return float(count**2 / (count + off))


@dataclass(frozen=True)
class NullTest:
    """The right audio's number against those of wrong audio.

    Attributes:
        observed: with the right audio. p: see ``permutation_p``.
        null: (n,) with wrong audio. limit: the null's 95 % point on the good side.
        effective: draws that are worth something, at most n; report it beside p.
    """

    observed: float
    null: np.ndarray
    p: float
    limit: float
    effective: float

    @property
    def beaten(self) -> bool:
        """Whether the right audio is really better: p at most ``P_WANTED``."""
        return self.p <= P_WANTED


def null_test(
    observed: float, null: np.ndarray, better: str = "higher", effective: float | None = None
) -> NullTest:
    """Tests a number against its null.

    Args:
        observed: the number with the right audio.
        null: (n,) numbers with wrong audio.
        better: "higher" (opening r) or "lower" (LMD).
        effective: see ``effective_draws``; n when the draws are windows that share no frame.
    """
    null = np.asarray(null, np.float64)
    finite = null[np.isfinite(null)]
    at = 95 if better == "higher" else 5
    limit = float(np.percentile(finite, at)) if len(finite) else float("nan")
    count = float(len(null)) if effective is None else effective
    return NullTest(observed, null, permutation_p(observed, null, better), limit, count)
