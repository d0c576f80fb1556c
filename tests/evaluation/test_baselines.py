"""Baselines look at training frames only, and do what their names say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.baselines import (
    BASELINES,
    FEATHER_PX,
    copy_reference,
    mean_mouth,
    nearest_frame,
    nearest_index,
    paste_box,
    ridge,
    ridge_opening,
    windows,
)
from evaluation.metrics.opening import agreement
from evaluation.metrics.psnr import psnr
from tests.evaluation.scenes import SIDE, clip


@pytest.fixture(scope="module")
def anna():
    return clip(150)


def inside(frames, box):
    x0, y0, x1, y1 = box
    return frames[:, y0:y1, x0:x1]


def test_paste_keeps_inside_and_far_outside():
    rng = np.random.default_rng(0)
    frames, mouths = rng.integers(0, 255, (2, 3, SIDE, SIDE, 3), dtype=np.uint8)
    box = np.array([20, 30, 44, 55])
    pasted = paste_box(frames, mouths, box)
    np.testing.assert_array_equal(inside(pasted, box), inside(mouths, box))
    far = np.ones((SIDE, SIDE), bool)
    far[30 - FEATHER_PX : 55 + FEATHER_PX, 20 - FEATHER_PX : 44 + FEATHER_PX] = False
    np.testing.assert_array_equal(pasted[:, far], frames[:, far])


def test_copy_and_mean_are_the_reference_and_the_mean(anna):
    crops = anna["crop"]
    np.testing.assert_array_equal(
        inside(copy_reference(anna), anna.box)[3], inside(crops[[anna.reference]], anna.box)[0]
    )
    mean = np.round(crops[anna.train].astype(float).mean(0))
    gap = inside(mean_mouth(anna), anna.box)[0] - inside(mean[None], anna.box)[0]
    assert np.abs(gap).max() <= 1


def test_the_nearest_frame_is_the_nearest(anna):
    lips, pose = anna["expression"], anna["pose"]
    chosen = nearest_index(
        lips[anna.train[[4, 9]]], lips[anna.train], pose[anna.train[[4, 9]]], pose[anna.train]
    )
    np.testing.assert_array_equal(chosen, [4, 9])
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(30, 4))
    expected = ((a[:, None] - b[None]) ** 2).sum(-1).argmin(1)
    still = np.zeros((5, 3)), np.zeros((30, 3))
    np.testing.assert_array_equal(nearest_index(a, b, *still), expected)


def test_the_nearest_frame_beats_the_mean_and_the_copy(anna):
    def score(render):
        # One PSNR over all frames: equal frames of this small scene would rule a mean of PSNRs.
        return psnr(inside(render(anna), anna.box), inside(anna.truth, anna.box))

    assert score(nearest_frame) > score(mean_mouth) + 3
    assert score(nearest_frame) > score(copy_reference) + 3


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_no_baseline_looks_at_held_out_mouths(anna, name):
    crops = anna["crop"].copy()
    x0, y0, x1, y1 = anna.box
    crops[anna.held_out, y0:y1, x0:x1] = 7
    blind = replace(anna, arrays={**anna.arrays, "crop": crops})
    seen, unseen = BASELINES[name](anna), BASELINES[name](blind)
    assert seen.shape == anna.truth.shape
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(inside(seen, anna.box), inside(unseen, anna.box))


def test_ridge_equals_the_primal_formula():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    train, held = np.arange(30), np.arange(30, 40)
    found = ridge(x, y, train, held, radius=0, lambdas=[2.5])
    mean, spread = x[train].mean(0), x[train].std(0) + 1e-6
    a, b = (x[train] - mean) / spread, (x[held] - mean) / spread
    weights = np.linalg.solve(a.T @ a + 2.5 * np.eye(3), a.T @ (y[train] - y[train].mean(0)))
    np.testing.assert_allclose(found, b @ weights + y[train].mean(0), atol=1e-8)


def test_ridge_hears_the_opening_and_ignores_the_held_out(anna):
    r, _ = agreement(ridge_opening(anna), anna["opening"][anna.held_out])
    assert r > 0.8
    hidden = anna["opening"].copy()
    hidden[anna.held_out] = 99
    blind = replace(anna, arrays={**anna.arrays, "opening": hidden})
    np.testing.assert_array_equal(ridge_opening(anna), ridge_opening(blind))


def test_ridge_chooses_more_shrinking_for_noise():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(120, 60)), rng.normal(size=120)
    found = ridge(x, y, np.arange(90), np.arange(90, 120), radius=1)
    assert found.std() < 0.6 * y.std()


def test_windows_repeat_the_ends():
    found = windows(np.arange(4.0)[:, None], 1)
    np.testing.assert_array_equal(found, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]])
