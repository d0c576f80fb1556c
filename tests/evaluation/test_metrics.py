"""Each metric three ways: an independent computation, order and batches, worse gets worse."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.contracts import Metric
from core.media.shapes import INNER_LIPS, OUTER_LIPS, lower_face_mask
from evaluation.metrics import DIRECTIONS, standard
from evaluation.metrics.opening import Opening, agreement
from evaluation.metrics.outside import Outside
from evaluation.metrics.psnr import CEILING_DB, Psnr
from evaluation.metrics.sharpness import Sharpness
from evaluation.metrics.ssim import Ssim
from evaluation.observer import Observer
from evaluation.runner import evaluate
from tests.evaluation.scenes import SIDE, case, dark_mesh, gaps, mesh, picture


def numbers(metric, *cases):
    return metric.reduce([metric.observe(c) for c in cases])


def noisy(truth, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, truth.shape)
    return np.clip(truth + noise, 0, 255).astype(np.uint8)


def blurred(truth, sigma):
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in truth])


def later(truth, by):
    return truth[(np.arange(len(truth)) - by).clip(0)]


def metrics():
    return {metric.name: metric for metric in standard(Observer(dark_mesh))}


# -- independent computations ---


def test_psnr_is_the_formula():
    truth = case(4)
    output = noisy(truth.truth, 9)
    x0, y0, x1, y1 = truth.mouth_box[0]
    expected = []
    for a, b in zip(output, truth.truth, strict=True):
        gap = a[y0:y1, x0:x1].astype(float) - b[y0:y1, x0:x1]
        expected.append(20 * np.log10(255 / np.sqrt((gap**2).mean())))
    assert numbers(Psnr(), replace(truth, output=output))["psnr"] == pytest.approx(
        np.mean(expected), abs=1e-4
    )
    assert numbers(Psnr(), truth)["psnr"] == CEILING_DB


def test_psnr_looks_inside_the_box_only():
    one = case(3)
    output = one.truth.copy()
    output[:, :5] = 0
    assert numbers(Psnr(), replace(one, output=output))["psnr"] == CEILING_DB


def test_ssim_is_the_formula_of_wang():
    one = case(2)
    output = noisy(one.truth, 12)
    x0, y0, x1, y1 = one.mouth_box[0]
    at = np.arange(-5, 6)
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for a, b in zip(output.astype(float), one.truth.astype(float), strict=True):
        a, b = (np.pad(v, ((5, 5), (5, 5), (0, 0)), mode="symmetric") for v in (a, b))
        for y in range(y0, y1):
            for x in range(x0, x1):
                for c in range(3):
                    u, v = a[y : y + 11, x : x + 11, c], b[y : y + 11, x : x + 11, c]
                    mu, mv = (window * u).sum(), (window * v).sum()
                    su, sv = (window * u**2).sum() - mu**2, (window * v**2).sum() - mv**2
                    cov = (window * u * v).sum() - mu * mv
                    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                    found.append(
                        (2 * mu * mv + c1)
                        * (2 * cov + c2)
                        / ((mu**2 + mv**2 + c1) * (su + sv + c2))
                    )
    assert numbers(Ssim(), replace(one, output=output))["ssim"] == pytest.approx(
        np.mean(found), abs=1e-4
    )


def test_lmd_is_the_mean_distance_of_lips():
    one = case(5)
    moved = one.landmarks + np.array([3.0, -4.0, 100.0], np.float32)  # 5 pixels; depth is no matter
    lmd = metrics()["lmd"]
    assert numbers(lmd, replace(one, landmarks=moved))["lmd"] == pytest.approx(
        100 * 5 / SIDE, abs=1e-4
    )
    rest = np.setdiff1d(np.arange(468), [*INNER_LIPS, *OUTER_LIPS])
    moved = one.landmarks.copy()
    moved[:, rest] += 7
    assert numbers(lmd, replace(one, landmarks=moved))["lmd"] == pytest.approx(0, abs=1e-6)


def test_opening_agrees_with_numpy():
    rng = np.random.default_rng(3)
    asked = rng.random(40)
    measured = 0.7 * asked + 0.05 * rng.normal(size=40)
    r, slope = agreement(measured, asked)
    assert r == pytest.approx(np.corrcoef(measured, asked)[0, 1], abs=1e-9)
    assert slope == pytest.approx(np.polyfit(asked, measured, 1)[0], abs=1e-9)


def test_opening_follows_the_drawn_mouth():
    found = numbers(metrics()["opening"], case(40))
    assert found["opening_r"] > 0.97
    assert 0.8 < found["opening_slope"] < 1.2
    assert found["opening_found"] == 1


def test_opening_is_averaged_over_clips_not_pooled():
    asked = gaps(20)
    still = {"measured": np.full(20, 0.3), "asked": asked}
    good = {"measured": asked, "asked": asked}
    found = Opening(Observer(dark_mesh)).reduce([still, good])
    assert found["opening_r"] == pytest.approx(0.5)
    assert found["opening_slope"] == pytest.approx(0.5)


def test_sharpness_is_the_laplacian():
    one = case(3)
    output = blurred(one.truth, 1.0)
    x0, y0, x1, y1 = one.mouth_box[0]

    def spread(frames):
        found = []
        for frame in frames[:, y0:y1, x0:x1].astype(float):
            luma = np.pad(frame @ [0.299, 0.587, 0.114], 1, mode="reflect")
            found.append(
                (luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
                 - 4 * luma[1:-1, 1:-1]).std()
            )  # fmt: skip
        return np.mean(found)

    expected = spread(output) / spread(one.truth)
    assert numbers(Sharpness(), replace(one, output=output))["sharpness"] == pytest.approx(
        expected, abs=1e-4
    )


def test_outside_is_the_formula_and_blind_inside():
    one = case(3)
    mask = np.stack([lower_face_mask(points, SIDE) for points in one.landmarks])
    output = noisy(one.truth, 5)
    gap = (output.astype(float) - one.truth) ** 2
    expected = np.mean(
        [10 * np.log10(255**2 / g[~m].mean()) for g, m in zip(gap, mask, strict=True)]
    )
    assert numbers(Outside(), replace(one, output=output))["outside_psnr"] == pytest.approx(
        expected, abs=1e-4
    )
    painted = one.truth.copy()
    painted[mask] = 0
    assert numbers(Outside(), replace(one, output=painted))["outside_psnr"] == CEILING_DB


# -- order, batches --


@pytest.mark.parametrize("name", sorted(metrics()))
def test_batches_and_order_change_nothing(name):
    metric = metrics()[name]
    assert isinstance(metric, type(metric))
    one = case(24)
    one = replace(one, output=noisy(later(one.truth, 2), 4))
    whole = metric.observe(one)
    parts = []
    for cut in (slice(0, 10), slice(10, 24)):
        fields = ("output", "truth", "mouth_box", "landmarks", "asked")
        part = replace(one, **{f: getattr(one, f)[cut] for f in fields})
        parts.append(metric.observe(part))
    for key, values in whole.items():
        np.testing.assert_allclose(np.concatenate([p[key] for p in parts]), values, rtol=1e-6)
    a, b = metric.reduce(parts), metric.reduce(parts[::-1])
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert b[key] == pytest.approx(value, rel=1e-12)


# -- worse is worse --


@pytest.mark.parametrize("number", ["psnr", "ssim", "lmd", "opening_error"])
def test_noise_and_shift_make_it_worse(number):
    one = case(30)
    name = {"opening_error": "opening"}.get(number, number)
    metric = metrics()[name]
    sign = 1 if DIRECTIONS[number] == "higher" else -1
    shifts = [
        sign * numbers(metric, replace(one, output=later(one.truth, by)))[number]
        for by in (0, 1, 3, 5)
    ]
    assert shifts == sorted(shifts, reverse=True)
    assert shifts[0] > shifts[1] > shifts[3]
    if number in ("psnr", "ssim"):
        noise = [
            sign * numbers(metric, replace(one, output=noisy(one.truth, s)))[number]
            for s in (0, 3, 9, 27)
        ]
        blur = [
            sign * numbers(metric, replace(one, output=blurred(one.truth, s)))[number]
            for s in (0.5, 1, 2, 4)
        ]
        assert noise == sorted(noise, reverse=True)
        assert blur == sorted(blur, reverse=True)


def test_opening_r_falls_with_shift_and_other_mouth():
    one = case(60)
    metric = metrics()["opening"]
    found = [
        numbers(metric, replace(one, output=later(one.truth, by)))["opening_r"]
        for by in (0, 1, 3, 5)
    ]
    assert found == sorted(found, reverse=True)
    other = np.stack([picture(gap) for gap in gaps(60, 2.0)])
    assert numbers(metric, replace(one, output=other))["opening_r"] < found[0] - 0.3


def test_sharpness_falls_with_blur_and_rises_with_noise():
    one = case(5)
    blur = [
        numbers(Sharpness(), replace(one, output=blurred(one.truth, s)))["sharpness"]
        for s in (0.5, 1, 2)
    ]
    assert 1 > blur[0] > blur[1] > blur[2]
    assert numbers(Sharpness(), replace(one, output=noisy(one.truth, 15)))["sharpness"] > 1.1
    assert numbers(Sharpness(), one)["sharpness"] == pytest.approx(1)


# -- the observer --


def test_the_observer_measures_a_case_once():
    calls = []

    def counted(crop):
        calls.append(1)
        return dark_mesh(crop)

    one = case(7)
    evaluate([one], standard(Observer(counted)))
    assert len(calls) == 7


def test_frames_without_a_face_are_counted_not_hidden():
    one = case(20)
    output = one.truth.copy()
    output[:5] = 0
    dark = replace(one, output=output)
    found = numbers(metrics()["lmd"], dark) | numbers(metrics()["opening"], dark)
    assert found["lmd_found"] == found["opening_found"] == 0.75
    assert np.isfinite(found["lmd"])
    nothing = replace(one, output=np.zeros_like(output))
    assert np.isnan(numbers(metrics()["lmd"], nothing)["lmd"])


def test_every_metric_meets_the_contract():
    for metric in standard(Observer(dark_mesh)):
        checked: Metric = metric
        found = numbers(checked, case(8))
        assert all(isinstance(value, float) for value in found.values())
        assert {key for key in found if not key.endswith("_found")} <= DIRECTIONS.keys()


def test_the_scene_is_what_it_says():
    from core.media.shapes import opening

    asked = np.array([0.0, 0.05, 0.2])
    np.testing.assert_allclose(opening(np.stack([mesh(g) for g in asked])), asked, atol=1e-3)


def test_the_real_mesh_sees_nothing_in_noise(store):
    observer = Observer.from_store(store)
    seen = observer.crops(
        np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), dtype=np.uint8)
    )
    assert seen.landmarks.shape == (2, 468, 3)
    assert np.isnan(seen.opening[~seen.found]).all()
