"""Benchmarks that ask more than "is it like the truth": other lips, other sounds."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.benchmarks.mask_free import mask_free
from evaluation.benchmarks.own_sound import numbers, own_sound
from evaluation.clip_data import join
from evaluation.observer import Observer
from tests.evaluation.scenes import dark_mesh, gaps, picture, sample

FRAMES = 150


@pytest.fixture
def observer():
    return Observer(dark_mesh)


@pytest.fixture
def clip(observer):
    return join([sample(frames=FRAMES, clip_frames=FRAMES)], observer)


def obedient(clip, frames):
    """Gives each held-out frame the mouth of the asked frame, as a perfect editor would."""
    return np.stack([picture(float(clip["opening"][f])) for f in frames])


def test_an_obedient_editor_follows_and_a_stubborn_one_does_not(clip, observer):
    follows = mask_free(clip, obedient, lambda c: c.truth, observer)
    assert follows.r > 0.95
    assert 0.8 < follows.slope < 1.2
    stubborn = mask_free(clip, lambda c, f: c.truth, lambda c: c.truth, observer)
    assert stubborn.r < 0.5
    assert stubborn.outside_psnr == stubborn.codec_psnr == 100


def test_painting_outside_the_mask_costs(clip, observer):
    def spills(c, frames):
        crops = c.truth.copy()
        crops[:, :8] = 0
        return crops

    found = mask_free(clip, spills, lambda c: c.truth, observer)
    assert found.outside_psnr < found.codec_psnr - 20


def hears(clip, speech):
    """A model whose mouth opens by the first speech feature."""
    heard = clip["speech"][clip.held_out] if speech is None else speech
    return np.stack([picture(float(np.clip(value, 0, 0.3))) for value in heard[:, 0]])


def test_a_hearing_model_beats_other_peoples_sound_and_a_deaf_one_does_not(clip, observer):
    clip.arrays["speech"][:, 0] = clip["opening"]
    rng = np.random.default_rng(0)
    count = len(clip.held_out)
    width = clip["speech"].shape[1]
    others = []
    for _ in range(60):
        window = np.zeros((count, width), np.float32)
        window[:, 0] = gaps(count, float(rng.uniform(0, 6.3)))[rng.permutation(count)]
        others.append(window)
    good = own_sound(clip, hears, others, observer)
    assert good.r.p <= 0.02
    assert good.lmd.p <= 0.02
    assert good.r.observed > max(good.shifted_r)
    assert {"opening_r", "ridge_r", "effective_draws"} <= set(numbers(good))
    deaf = own_sound(clip, lambda c, s: c.truth[:, ::-1, :], others, observer)
    assert deaf.r.p > 0.02
