"""Nulls are other people's, shuffled or shifted speech, and are counted honestly."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.null_audio import (
    derangements,
    effective_draws,
    null_test,
    other_windows,
    permuted_blocks,
    shifted,
)


def test_windows_are_others_and_share_no_frame():
    speech = {
        name: np.full((25, 2), k) + np.arange(25)[:, None] * 100 for k, name in enumerate("abc")
    }
    found = other_windows(speech, "b", 10)
    assert [len(w) for w in found] == [10] * 4
    seen = np.concatenate(found)[:, 0]
    assert len(np.unique(seen)) == 40
    assert not (seen % 100 == 1).any()
    assert len(other_windows(speech, "b", 10, most=3)) == 3


def test_permutations_move_every_block_and_differ():
    found = permuted_blocks(60, 49, block=10)
    assert found.shape == (49, 60)
    assert len({tuple(order) for order in found}) == 49
    for order in found:
        np.testing.assert_array_equal(np.sort(order), np.arange(60))
        assert not (order.reshape(6, 10)[:, 0] == np.arange(0, 60, 10)).any()


def test_there_are_only_so_many_permutations():
    assert [derangements(n) for n in range(7)] == [0, 0, 1, 2, 9, 44, 265]
    assert permuted_blocks(30, 100, block=10).shape == (2, 30)
    assert permuted_blocks(5, 100, block=10).shape == (0, 5)


def test_shift_moves_later_and_repeats_ends():
    track = np.arange(5)
    np.testing.assert_array_equal(shifted(track, 2), [0, 0, 0, 1, 2])
    np.testing.assert_array_equal(shifted(track, -2), [2, 3, 4, 4, 4])


def test_equal_draws_count_once():
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(20, 400))
    assert effective_draws(apart) == pytest.approx(20, rel=0.15)
    assert effective_draws(np.tile(apart[:1], (20, 1))) == pytest.approx(1, rel=0.01)
    assert effective_draws(np.tile(apart[:10], (2, 1))) == pytest.approx(10, rel=0.15)


def test_forty_nine_draws_can_reach_two_percent():
    null = np.random.default_rng(1).normal(0, 0.1, 49)
    found = null_test(0.6, null)
    assert found.p == pytest.approx(0.02)
    assert found.beaten
    assert found.effective == 49
    assert not null_test(0.6, null[:48]).beaten
    assert not null_test(float(np.median(null)), null).beaten
    assert null_test(0.1, null + 1, "lower").beaten
