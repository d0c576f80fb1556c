from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.weights import Store
from models.experts.hyper_iqa import HyperIQA, HyperIQAExpert
from models.experts.niqe import Niqe, _aggd, fit
from models.experts.quality import load_quality
from tests.models import crc_weights


@pytest.fixture(scope="module", params=["astronaut", "chelsea"])
def photo(request):
    """Natural pictures that the model was not fitted to."""
    return getattr(pytest.importorskip("skimage.data"), request.param)()[:300, 60:360]


def test_blur_noise_and_compression_worsen_niqe(photo):
    judge = Niqe()
    best = judge.score(photo)
    blurred = [judge.score(cv2.GaussianBlur(photo, (0, 0), s)) for s in (1.0, 2.0, 4.0)]
    rng = np.random.default_rng(0)
    noisy = [
        judge.score((photo + rng.normal(0, s, photo.shape)).clip(0, 255).astype(np.uint8))
        for s in (15, 40)
    ]
    assert best < blurred[0] < blurred[1] < blurred[2]
    assert best < noisy[0] < noisy[1]
    packed = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 5])[1]
    assert judge.score(cv2.imdecode(packed, cv2.IMREAD_COLOR)) > 1.2 * best


@pytest.mark.parametrize("side", [64, 128, 256])
def test_small_crops_are_judged_too(photo, side):
    crop = cv2.resize(photo[:300, :300], (side, side), interpolation=cv2.INTER_AREA)
    judge = Niqe()
    assert np.isfinite(judge.score(crop))
    assert judge.score(cv2.GaussianBlur(crop, (0, 0), 3)) > judge.score(crop)


def test_a_flat_picture_has_a_score():
    assert np.isfinite(Niqe().score(np.full((128, 128, 3), 90, np.uint8)))


def test_the_distribution_fit_finds_what_was_drawn():
    rng = np.random.default_rng(0)
    gauss, laplace = rng.normal(0, 2, (1, 200, 200)), rng.laplace(0, 2, (1, 200, 200))
    right_side = rng.random(gauss.shape) < 0.75  # its density is continuous at 0
    lopsided = np.where(right_side, 3 * np.abs(gauss), -np.abs(gauss))
    assert _aggd(gauss)[0][0] == pytest.approx(2.0, abs=0.06)
    assert _aggd(laplace)[0][0] == pytest.approx(1.0, abs=0.04)
    shape, left, right, mean = (float(v[0]) for v in _aggd(lopsided))
    assert shape == pytest.approx(2.0, abs=0.1)
    assert right / left == pytest.approx(3.0, rel=0.03)
    assert mean > 0


def test_the_committed_model_is_the_fit_of_the_named_photos():
    path = Path(__file__).parents[2] / "bench" / "fit_niqe.py"
    spec = importlib.util.spec_from_file_location("fit_niqe", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    again, known = fit(script.pictures()), Niqe().natural
    np.testing.assert_allclose(again.mean, known.mean, atol=1e-6)
    np.testing.assert_allclose(again.covariance, known.covariance, atol=1e-6)
    assert np.linalg.matrix_rank(known.covariance) == 36


def test_names_weights_and_choice(tmp_path):
    store = Store((tmp_path,))
    assert load_quality("auto", store).name.startswith("niqe-fitted@")
    with pytest.raises(InputError, match=r"'hyper_iqa' .* is missing"):
        load_quality("hyper_iqa", store)
    with pytest.raises(InputError, match="no image quality 'brisque'"):
        load_quality("brisque", store)
    save_file(crc_weights.filled(HyperIQA()).state_dict(), tmp_path / "hyper_iqa.safetensors")
    judge = load_quality("auto", store)
    assert isinstance(judge, HyperIQAExpert)
    picture = np.random.default_rng(0).integers(0, 255, (128, 150, 3), np.uint8)
    assert np.isfinite(judge.score(picture))
    save_file({"a": torch.zeros(1)}, tmp_path / "hyper_iqa.safetensors")
    with pytest.raises(InputError, match="no HyperIQA"):
        load_quality("auto", store)


def test_the_authors_model_is_read_from_matlabs_file(tmp_path):
    from scipy.io import savemat

    from core.errors import InputError
    from models.experts.niqe import PublishedNiqe, convert

    mean, covariance = np.arange(36.0), np.eye(36)
    savemat(tmp_path / "model.mat", {"mu_prisparam": mean[None], "cov_prisparam": covariance})
    convert(tmp_path / "model.mat", tmp_path / "niqe.safetensors")
    judge = PublishedNiqe(tmp_path / "niqe.safetensors")
    np.testing.assert_array_equal(judge.natural.mean, mean)
    with pytest.raises(InputError, match="96 px each way"):
        judge.score(np.zeros((95, 200, 3), np.uint8))
    savemat(tmp_path / "other.mat", {"mu_prisparam": mean[:5], "cov_prisparam": np.eye(5)})
    for name, said in (
        ("other.mat", "a model of 5 numbers"),
        ("none.mat", "holds no mu_prisparam"),
    ):
        with pytest.raises(InputError, match=said):
            convert(tmp_path / name, tmp_path / "niqe.safetensors")
