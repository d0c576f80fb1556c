"""Intervals cover, blocks widen them, p values are counts."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.stats import (
    block_draw,
    mean_interval,
    paired_difference,
    permutation_p,
)


def test_a_draw_has_as_many_frames_and_whole_blocks():
    drawn = block_draw([30], np.random.default_rng(0), 10)
    (row,) = drawn
    assert row.shape == (2, 30)
    assert (row[0] == 0).all()
    steps = np.diff(row[1].reshape(3, 10), axis=1) % 30
    assert (steps == 1).all()


def test_the_mean_is_the_mean_and_lies_inside():
    values = np.random.default_rng(1).normal(3, 1, 200)
    found = mean_interval(values, block=1)
    assert found.value == pytest.approx(values.mean())
    assert found.low < found.value < found.high
    # The textbook's interval, to a tenth of its width.
    half = 1.96 * values.std() / np.sqrt(200)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_about_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(2)
    held = [
        (i := mean_interval(rng.normal(0, 1, 60), block=1, draws=100)).low < 0 < i.high
        for _ in range(100)
    ]
    assert 85 <= sum(held) <= 99


def test_neighbours_that_look_alike_widen_the_interval():
    slow = np.repeat(np.random.default_rng(3).normal(size=20), 12)
    alone, blocks = mean_interval(slow, block=1), mean_interval(slow, block=12)
    assert blocks.high - blocks.low > 2 * (alone.high - alone.low)


def test_several_clips_are_drawn_as_clips():
    rng = np.random.default_rng(4)
    rows = [rng.normal(level, 0.01, 50) for level in (0.0, 1.0, 2.0, 3.0)]
    found = mean_interval(rows)
    assert found.high - found.low > 1


def test_pairs_tell_what_means_do_not():
    rng = np.random.default_rng(5)
    base = rng.normal(0, 5, 100)
    gain = paired_difference(base + 0.5 + rng.normal(0, 0.1, 100), base)
    assert gain.above_zero
    assert gain.value == pytest.approx(0.5, abs=0.05)
    assert not paired_difference(base, base).above_zero


def test_nan_frames_are_left_out_and_nothing_gives_nan():
    assert mean_interval(np.array([1.0, np.nan, 1.0])).value == 1
    assert np.isnan(mean_interval(np.array([np.nan])).value)


def test_p_counts_hits():
    null = np.arange(49.0)
    assert permutation_p(100, null) == pytest.approx(1 / 50)
    assert permutation_p(48, null) == pytest.approx(2 / 50)
    assert permutation_p(-1, null, "lower") == pytest.approx(1 / 50)
    assert permutation_p(100, np.full(49, np.nan)) == 1
