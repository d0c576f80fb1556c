"""How sure a number is: block bootstrap intervals, paired differences, p values.

Neighbouring frames look alike, so frames are never drawn one by one: whole blocks of ``BLOCK``
frames are, and an interval over 100 frames is as wide as its handful of blocks deserves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 12
"""Frames drawn together: about half a second, the span over which mouth errors hang together."""
DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval (NaN ends when there was too little to tell)."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval lies above 0."""
        return bool(self.low > 0)


def block_draw(lengths: Sequence[int], rng: np.random.Generator, block: int) -> list[np.ndarray]:
    """One bootstrap draw: rows are drawn with replacement, then blocks of frames inside each.

    Blocks wrap around a row's end (the circular block bootstrap), so that every frame is as likely.
    A single row is always itself. Rows of one frame each give the plain bootstrap.

    Args:
        lengths: frames in each row.
        rng: what draws.
        block: frames in a block; shorter rows are cut into at least two blocks.

    Returns:
        One (2, n) int array for each drawn row: its number (repeated), and its frames' indices.
    """
    rows = rng.integers(0, len(lengths), len(lengths))
    drawn = []
    for row in rows:
        count = lengths[row]
        size = max(1, min(block, count // 2))
        starts = rng.integers(0, count, -(-count // size))
        frames = (starts[:, None] + np.arange(size)).ravel()[:count] % count
        drawn.append(np.stack([np.full(count, row), frames]))
    return drawn


def bootstrap(
    lengths: Sequence[int],
    statistic: Callable[[list[np.ndarray]], np.ndarray],
    block: int = BLOCK,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval of any statistic of rows of frames.

    Args:
        lengths: frames in each row.
        statistic: gets what ``block_draw`` gives, returns (K,) numbers.
        block: frames drawn together.
        draws: how many draws.
        seed: of the draws.

    Returns:
        (low, high), each (K,); NaN where a statistic had no finite draw.
    """
    rng = np.random.default_rng(seed)
    found = np.stack([statistic(block_draw(lengths, rng, block)) for _ in range(draws)])
    low, high = np.full(found.shape[1], np.nan), np.full(found.shape[1], np.nan)
    for k, column in enumerate(found.T):
        finite = column[np.isfinite(column)]
        if len(finite) > draws // 2:
            low[k], high[k] = np.percentile(finite, [2.5, 97.5])
    return low, high


def mean_interval(
    values: np.ndarray | Sequence[np.ndarray],
    block: int = BLOCK,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """The mean of all frames and its interval.

    Args:
        values: (T,), or a list of (T_i,), one a clip. NaN frames are left out.
        block: 1 when the values are independent samples rather than neighbouring frames.
        draws: bootstrap draws.
        seed: of the draws.
    """
    rows = [values] if isinstance(values, np.ndarray) else list(values)
    rows = [row[np.isfinite(row)] for row in rows]
    rows = [row for row in rows if len(row)]
    if not rows:
        return Interval(np.nan, np.nan, np.nan)

    def mean(drawn: list[np.ndarray]) -> np.ndarray:
        return np.array([np.concatenate([rows[d[0, 0]][d[1]] for d in drawn]).mean()])

    low, high = bootstrap([len(row) for row in rows], mean, block, draws, seed)
    return Interval(float(np.concatenate(rows).mean()), float(low[0]), float(high[0]))


def paired_difference(
    ours: np.ndarray | Sequence[np.ndarray],
    theirs: np.ndarray | Sequence[np.ndarray],
    block: int = BLOCK,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean of ``ours - theirs`` on the same frames and its interval; see ``mean_interval``."""
    if isinstance(ours, np.ndarray):
        ours, theirs = [ours], [np.asarray(theirs)]
    gap = [np.asarray(a, np.float64) - b for a, b in zip(ours, theirs, strict=True)]
    return mean_interval(gap, block, draws, seed)


def permutation_p(observed: float, null: np.ndarray, better: str = "higher") -> float:
    """Chance of a null draw at least as good as ``observed``: (1 + hits) / (1 + draws).

    Args:
        observed: the number of the real thing.
        null: (N,) numbers of the null; NaN ones count as hits, never in our favour.
        better: "higher" or "lower".
    """
    null = np.asarray(null, np.float64)
    sign = 1.0 if better == "higher" else -1.0
    hits = int(np.sum(~(sign * null < sign * observed)))
    return (1 + hits) / (1 + len(null))
