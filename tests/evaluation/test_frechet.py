from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from core.errors import InputError
from evaluation.frechet import frechet


def _sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    mix, other = rng.normal(size=(2, d, d)) / d**0.5
    return rng.normal(size=(n, d)) @ mix, rng.normal(size=(m, d)) @ other + 0.3


def _gaussians(*sets):
    return [(s.mean(0), np.cov(s, rowvar=False)) for s in sets]


def test_it_is_the_formula_with_the_matrix_root():
    ours, theirs = _sets(300, 200, 24)
    (m, c), (n, k) = _gaussians(ours, theirs)
    golden = ((m - n) ** 2).sum() + np.trace(c + k - 2 * scipy.linalg.sqrtm(c @ k).real)
    found = frechet(ours, theirs)
    assert found.value == pytest.approx(golden, rel=1e-6)
    assert found.note == ""
    assert frechet(theirs, ours).value == pytest.approx(golden, rel=1e-9)
    assert frechet(ours.astype(np.float32), theirs).value == pytest.approx(golden, rel=1e-5)


def test_it_is_torchmetrics_formula():
    ours, theirs = _sets(300, 200, 24, seed=1)
    (m, c), (n, k) = [[torch.from_numpy(x) for x in pair] for pair in _gaussians(ours, theirs)]
    shared = torch.linalg.eigvals(c @ k).sqrt().real.sum()
    golden = (m - n).square().sum() + c.trace() + k.trace() - 2 * shared
    assert frechet(ours, theirs).value == pytest.approx(float(golden), rel=1e-6)


def test_known_distances():
    ours, _ = _sets(100, 2, 8)
    assert frechet(ours, ours).value == pytest.approx(0, abs=1e-12)
    assert frechet(ours, ours + 2).value == pytest.approx(8 * 4)
    spread = np.trace(np.cov(ours, rowvar=False))  # tr(C) (2 - 1)², the means set apart
    tripled = 2 * ours - ours.mean(0)
    assert frechet(ours, tripled).value == pytest.approx(spread)


@pytest.mark.parametrize("counts", [(12, 12), (12, 40), (200, 12)])
def test_singular_covariances_are_exact_and_noted(counts):
    """Few vectors that lie in a small subspace: the distance is that within the subspace."""
    small = _sets(*counts, 5)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(60, 60)))[0][:5]
    found = frechet(small[0] @ turn, small[1] @ turn)
    assert found.value == pytest.approx(frechet(*small).value, rel=1e-9)
    assert frechet(*small).note == ""
    assert f"{counts[0]} and {counts[1]} vectors of 60 numbers: too few" in found.note


def test_the_note_begins_where_a_covariance_loses_rank():
    ours, theirs = _sets(9, 9, 8)
    assert frechet(ours, theirs).note == ""
    assert "9 and 8 vectors of 8" in frechet(ours, theirs[:8]).note


def test_too_few_samples_make_it_too_high():
    """What the note says: the same two Gaussians, at 20 and at 2000 samples."""
    few, many = (_sets(n, n, 32)[0] for n in (40, 4000))
    assert frechet(few[:20], few[20:]).value > 5 * frechet(many[:2000], many[2000:]).value


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "3 and of 4 numbers"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "ours are vectors of shape"),
        (np.zeros((5, 3)), np.zeros(5), "theirs are vectors of shape"),
        (np.zeros((5, 3)), np.full((5, 3), np.nan), "theirs hold numbers that are not finite"),
    ],
)
def test_what_has_no_distance_is_a_sentence(ours, theirs, words):
    with pytest.raises(InputError, match=words):
        frechet(ours, theirs)
