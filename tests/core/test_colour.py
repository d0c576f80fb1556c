from __future__ import annotations

import numpy as np
import pytest

from core.latents import packed, unpacked
from core.media.colour import PLAIN, changed, variants


def _pictures():
    ramp = np.linspace(20, 230, 32).astype(np.uint8)
    picture = np.stack(
        [np.tile(ramp, (16, 1)), np.full((16, 32), 90), np.tile(ramp[::-1], (16, 1))]
    )
    return np.stack([picture.transpose(1, 2, 0)] * 2).astype(np.uint8)


def test_variants_are_the_clips_own_and_the_same_tomorrow():
    rows = variants("abc", True, 4)
    assert rows.shape == (5, 5)
    assert rows[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert rows[0].tolist() == [1, 1, 1, 1, 0]
    assert np.array_equal(rows, variants("abc", True, 4))
    assert np.array_equal(rows[1:3], variants("abc", True, 2)[1:]), "more variants keep the first"
    assert not np.array_equal(rows[1:], variants("abd", True, 4)[1:])
    assert variants("abc", False, 0).shape == (0, 5)
    many = variants("x", False, 300, (0.4, 0.4, 3.2, 0.4))[:, 1:]
    assert many.min(0) == pytest.approx([0.6, 0.6, 0.0, -0.4], abs=0.05)
    assert many.max(0) == pytest.approx([1.4, 1.4, 4.2, 0.4], abs=0.05)


def test_each_parameter_does_its_own():
    given = _pictures()

    def with_(**one):
        names = ("mirror", "brightness", "contrast", "saturation", "hue")
        return changed(given, np.array([one.get(n, p) for n, p in zip(names, PLAIN, strict=True)]))

    assert np.array_equal(with_(), given)
    assert np.array_equal(with_(mirror=1), given[:, :, ::-1])
    assert np.allclose(with_(brightness=0.5), given * 0.5, atol=1.1)
    assert with_(contrast=0.5).std() < 0.6 * given.std()
    grey = with_(saturation=0)
    assert np.abs(grey.astype(int) - grey[..., :1]).max() <= 1
    turned = with_(hue=1 / 3)  # red becomes green
    assert np.abs(turned[..., 1].astype(int) - given[..., 0]).max() <= 2
    frames = changed(given, variants("a", True, 2)[2])
    assert np.array_equal(frames[0], frames[1]), "equal frames stay equal"
    assert frames.dtype == np.uint8


def test_latents_on_the_grid_come_back_within_half_a_step():
    z = np.random.default_rng(0).normal(size=(2, 4, 8, 8)).astype(np.float32)
    stored = packed(z, "uint8")
    assert stored.dtype == np.uint8
    assert np.abs(unpacked(stored) - z).max() <= 0.5 / 21 + 1e-6
    assert np.array_equal(packed(unpacked(stored), "uint8"), stored)
    half = packed(z, "float16")
    assert half.dtype == np.float16
    assert unpacked(half) is half
    assert unpacked(packed(np.array([-9.0, 0, 9.0]), "uint8")).tolist() == pytest.approx(
        [-128 / 21, 0, 127 / 21]
    )
