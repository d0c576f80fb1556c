"""Metrics of videos that need no net: independent computations, order, worse is worse."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import ndimage, special

from core.errors import InputError
from core.media.shapes import INNER_LIPS, OUTER_LIPS, mouth_box
from core.weights import Store
from evaluation.metrics.brisque import Brisque, Regression, convert, features
from evaluation.metrics.flicker import Flicker, backward, warped
from evaluation.metrics.leakage import Leakage
from evaluation.metrics.on_crops import OnCrops, openings
from evaluation.metrics.plain import plain
from evaluation.metrics.psnr import CEILING_DB, Psnr
from evaluation.metrics.speed import speed
from evaluation.metrics.ssim import Ssim, ssim_map
from evaluation.metrics.success import Success
from evaluation.metrics.video_lmd import VideoLmd
from evaluation.videos import Seen
from models.experts.imresize import halved
from tests.evaluation.drawn_videos import (
    blurred,
    drawn,
    edited,
    later,
    noisy,
    talk,
    video_case,
)

LIPS = [*OUTER_LIPS, *INNER_LIPS]
SOURCE = drawn(talk())
OTHER = drawn(talk(phase=2.0), wide=1.15, seed=4, name="bert")


def numbers(metric, *cases):
    return metric.reduce([metric.observe(case) for case in cases])


def faceless(seen: Seen, *frames: int) -> Seen:
    mesh = seen.mesh.copy()
    mesh[list(frames)] = np.nan
    return replace(seen, mesh=mesh)


def box_of(seen: Seen) -> tuple[int, int, int, int]:
    boxes = np.array([mouth_box(points, seen.crops.shape[2]) for points in seen.mesh])
    low, high = np.percentile(boxes[:, :2], 2, axis=0), np.percentile(boxes[:, 2:], 98, axis=0)
    return *np.floor(low).astype(int), *np.ceil(high).astype(int)


# -- PSNR, SSIM ---


def test_psnr_is_the_formula_on_crop_and_mouth():
    output = edited(SOURCE, noisy(SOURCE.crops, 9))
    found = numbers(OnCrops(Psnr()), video_case(output=output))
    x0, y0, x1, y1 = box_of(SOURCE)
    error = (output.crops.astype(float) - SOURCE.crops) ** 2
    whole = 20 * np.log10(255 / np.sqrt(error.mean((1, 2, 3))))
    mouth = 20 * np.log10(255 / np.sqrt(error[:, y0:y1, x0:x1].mean((1, 2, 3))))
    assert found == pytest.approx({"psnr": whole.mean(), "mouth_psnr": mouth.mean()}, abs=1e-4)


def test_ssim_is_the_formula_on_crop_and_mouth():
    source = drawn(talk(2))
    output = edited(source, noisy(source.crops, 12))
    x0, y0, x1, y1 = box_of(source)
    at = np.arange(-5, 6)
    taps = np.exp(-(at**2) / (2 * 1.5**2))
    taps /= taps.sum()

    def mean(values):
        for axis in (0, 1):
            values = ndimage.correlate1d(values, taps, axis=axis, mode="reflect")
        return values

    maps = []
    for u, v in zip(output.crops.astype(float), source.crops.astype(float), strict=True):
        mu, mv = mean(u), mean(v)
        su, sv, cov = mean(u * u) - mu**2, mean(v * v) - mv**2, mean(u * v) - mu * mv
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        maps.append((2 * mu * mv + c1) * (2 * cov + c2) / ((mu**2 + mv**2 + c1) * (su + sv + c2)))
    found = numbers(OnCrops(Ssim()), video_case(output=output, source=source))
    assert found["ssim"] == pytest.approx(np.mean(maps), abs=1e-4)
    assert found["mouth_ssim"] == pytest.approx(
        np.mean([one[y0:y1, x0:x1] for one in maps]), abs=1e-4
    )
    assert ssim_map(output.crops[0], source.crops[0]).mean() == pytest.approx(
        maps[0].mean(), abs=1e-4
    )


def test_the_mouths_numbers_look_at_the_mouth_only():
    x0, y0, x1, y1 = box_of(SOURCE)
    painted = SOURCE.crops.copy()
    painted[:, : y0 - 6] = 0
    found = numbers(OnCrops(Psnr()), video_case(output=edited(SOURCE, painted)))
    assert found["mouth_psnr"] == CEILING_DB > found["psnr"]
    painted = SOURCE.crops.copy()
    painted[:, y0:y1, x0:x1] = 0
    found = numbers(OnCrops(Psnr()), video_case(output=edited(SOURCE, painted)))
    assert found["mouth_psnr"] < found["psnr"] - 5


def test_a_source_without_a_face_is_named():
    source = faceless(SOURCE, *range(len(SOURCE)))
    with pytest.raises(InputError, match=r"anna\.mp4"):
        OnCrops(Psnr()).observe(video_case(source=source))


# -- LMD ---


def test_lmd_is_the_distance_of_lips():
    mesh = SOURCE.mesh.copy()
    mesh[:, LIPS] += np.array([3.0, -4.0, 50.0])  # 5 pixels; depth is no matter
    found = numbers(VideoLmd(), video_case(output=replace(SOURCE, mesh=mesh)))
    assert found["lmd"] == pytest.approx(100 * 5 / SOURCE.crops.shape[2], abs=1e-4)
    assert found["lmd_shape"] == pytest.approx(0, abs=1e-4)  # it moved as a whole


def test_lmd_shape_is_the_distance_of_centred_lips_over_face_height():
    found = numbers(VideoLmd(), video_case("cross", SOURCE, SOURCE, OTHER))
    assert "lmd" not in found

    def shape(gaps, wide):  # as dummy_mesh draws them; face_fit's height of a stretched face is
        seen = drawn(gaps, wide)  # its own least squares, so it is measured here point by point
        from core.media.shapes import STABLE_INDEX, STABLE_PLACE

        lips = []
        for points in seen.mesh.astype(float):
            a = STABLE_PLACE - STABLE_PLACE.mean(0)
            b = points[STABLE_INDEX] - points[STABLE_INDEX].mean(0)
            scale = np.trace(a.T @ b) / (a**2).sum()  # upright heads: no rotation to find
            lips.append((points[LIPS, :2] - points[LIPS, :2].mean(0)) / scale)
        return np.stack(lips)

    apart = np.linalg.norm(shape(talk(), 1.0) - shape(talk(phase=2.0), 1.15), axis=-1)
    assert found["lmd_shape"] == pytest.approx(100 * apart.mean(), abs=2e-2)


def test_lmd_does_not_look_at_where_or_how_large_the_other_person_is():
    moved = replace(OTHER, mesh=1.7 * OTHER.mesh + 40)
    cases = [video_case("cross", SOURCE, SOURCE, other) for other in (OTHER, moved)]
    assert numbers(VideoLmd(), cases[0])["lmd_shape"] == pytest.approx(
        numbers(VideoLmd(), cases[1])["lmd_shape"], abs=1e-4
    )
    best = numbers(VideoLmd(), video_case("cross", OTHER, SOURCE, OTHER))
    assert best["lmd_shape"] == pytest.approx(0, abs=1e-6)


def test_faceless_frames_are_left_out_of_lmd_and_counted():
    found = numbers(VideoLmd(), video_case(output=faceless(SOURCE, 0, 1, 2)))
    assert found == {"lmd": 0.0, "lmd_shape": 0.0, "lmd_found": 0.9}
    nothing = numbers(VideoLmd(), video_case("cross"))
    assert np.isnan(nothing["lmd_shape"])
    assert nothing["lmd_found"] == 0


# -- leakage ---


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 1.0])
def test_leakage_is_what_is_left_of_the_motion(left):
    gaps = talk()
    output = drawn(0.02 + left * (gaps - gaps.mean()) + (left > 0) * 0.06)
    found = numbers(Leakage(), video_case("silent", output, SOURCE))
    assert found["leakage"] == pytest.approx(left, abs=1e-3)
    assert found["leakage_speed"] == pytest.approx(left, abs=1e-3)
    assert found["leakage_r"] == pytest.approx(1.0 if left else 0.0, abs=0.05)
    assert found["leakage_pass"] == float(left < 0.15)
    assert found["leakage_found"] == 1.0


def test_leakage_agrees_with_numpy():
    was, now = openings(SOURCE).astype(float), openings(OTHER).astype(float)
    found = numbers(Leakage(), video_case("silent", OTHER, SOURCE))
    assert found["leakage"] == pytest.approx(np.std(now) / np.std(was), abs=1e-4)
    speeds = [np.abs(track[1:] - track[:-1]).sum() for track in (was, now)]
    assert found["leakage_speed"] == pytest.approx(speeds[1] / speeds[0], abs=1e-4)
    assert found["leakage_r"] == pytest.approx(np.corrcoef(was, now)[0, 1], abs=1e-4)


def test_a_gap_in_the_face_makes_no_speed():
    found = numbers(Leakage(), video_case("silent", faceless(SOURCE, 7, 8, 20), SOURCE))
    assert found["leakage_speed"] == pytest.approx(1.0)
    assert found["leakage_found"] == pytest.approx(0.9)
    still = drawn(np.full(30, 0.05))
    assert np.isnan(numbers(Leakage(), video_case("silent", SOURCE, still))["leakage"])


# -- flicker ---


def test_flicker_is_the_warping_error_beyond_the_sources():
    source = drawn(talk(8))
    output = edited(source, noisy(source.crops, 6))
    seen = Flicker().observe(video_case(output=output, source=source))
    x0, y0, x1, y1 = box_of(source)
    expected = []
    for t in (1, 6):
        places, trusted = backward(source.crops[t], source.crops[t - 1])
        trusted[y0:y1, x0:x1] = False
        x, y = places[..., 0], places[..., 1]
        trusted &= ~((x >= x0) & (x <= x1 - 1) & (y >= y0) & (y <= y1 - 1))
        order = [places[..., 1], places[..., 0]]
        for video in (output, source):
            before = np.stack(
                [
                    ndimage.map_coordinates(
                        video.crops[t - 1, ..., c].astype(float), order, order=1, mode="nearest"
                    )
                    for c in range(3)
                ],
                -1,
            )
            expected.append(np.abs(video.crops[t] - before)[trusted].mean())
    found = [seen[name][t] for t in (1, 6) for name in ("output", "source")]
    # OpenCV looks between pixels in steps of 1/32.
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.isnan(seen["output"][0])


def test_the_flow_finds_a_shift():
    wide = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8), (0, 0), 2
    )
    before, now = wide[:, 3:83], wide[:, :80]  # what is at x now was at x - 3 before
    places, trusted = backward(now, before)
    middle = (slice(10, 70), slice(10, 70))
    assert trusted[middle].mean() > 0.9
    assert np.median(places[middle][..., 0] - np.arange(10, 70)) == pytest.approx(-3, abs=0.2)
    np.testing.assert_allclose(
        warped(before, places)[middle][trusted[middle]], now[middle][trusted[middle]], atol=25
    )


def test_flicker_rises_with_trembling_and_is_zero_for_the_source():
    source = drawn(talk(8))
    assert numbers(Flicker(), video_case(source=source))["flicker"] == 0
    turns = np.where(np.arange(len(source)) % 2, 1, -1)[:, None, None, None]
    found = []
    for much in (1, 3, 9):
        crops = np.clip(source.crops + much * turns, 0, 255).astype(np.uint8)
        case = video_case(output=edited(source, crops), source=source)
        found.append(numbers(Flicker(), case)["flicker"])
    assert 0.5 < found[0] < found[1] < found[2] < 18.1


def test_flicker_does_not_see_the_mouth_nor_a_steady_change():
    source = drawn(talk(8))
    x0, y0, x1, y1 = box_of(source)
    crops = source.crops.copy()
    crops[::2, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] = 0
    case = video_case(output=edited(source, crops), source=source)
    assert numbers(Flicker(), case)["flicker"] == 0
    darker = video_case(output=edited(source, source.crops // 2), source=source)
    assert numbers(Flicker(), darker)["flicker"] <= 0


# -- success ---


def test_success_counts_faces_and_answers():
    silent = drawn(np.full(30, np.quantile(talk(), 0.1)))
    good = numbers(Success(), video_case("silent", silent, SOURCE))
    assert good == dict.fromkeys(good, 1.0)
    copied = numbers(Success(), video_case("silent", SOURCE, SOURCE))
    wide_open = np.abs(openings(SOURCE) - np.quantile(openings(SOURCE), 0.1)) >= 0.03
    assert copied["success"] == copied["success_changed"] == 0
    assert copied["success_frames"] == pytest.approx(1 - wide_open.mean())
    assert copied["success_face"] == 1


def test_success_across_sounds_looks_where_the_mouths_differ():
    model = drawn(talk(phase=2.0))
    asked = np.abs(talk(phase=2.0) - talk()) >= 0.03
    half = np.where(np.cumsum(asked) % 2, talk(), talk(phase=2.0))  # every other answer missing
    found = numbers(Success(), video_case("cross", drawn(half), SOURCE, model))
    changed = (np.abs(half - talk()) >= 0.015)[asked]
    assert found["success_changed"] == pytest.approx(changed.mean())
    assert numbers(Success(), video_case("cross", model, SOURCE, model))["success"] == 1
    assert numbers(Success(), video_case("cross", SOURCE, SOURCE, model))["success"] == 0
    unknown = numbers(Success(), video_case("cross", SOURCE, SOURCE))
    assert unknown["success"] == 1
    assert np.isnan(unknown["success_changed"])


def test_success_needs_faces_where_the_source_has_one():
    lost = faceless(SOURCE, 3, 4)
    found = numbers(Success(), video_case(output=lost), video_case())
    assert found["success"] == 0.5
    assert found["success_face"] == pytest.approx(58 / 60)
    both = numbers(Success(), video_case(output=lost, source=lost))
    assert both["success"] == both["success_face"] == 1


# -- BRISQUE ---


def brisque_features(picture):
    """The 36 numbers, pixel by pixel and by searching the shape on the grid."""
    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(window, window) / window.sum() ** 2
    grid = np.arange(0.2, 10.001, 0.001)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)
    found = []
    for _ in range(2):
        mean = ndimage.correlate(grey, window, mode="constant")
        spread = np.sqrt(np.abs(ndimage.correlate(grey**2, window, mode="constant") - mean**2))
        mscn = (grey - mean) / (spread + 1)
        mscn[np.abs(mscn) < 1e-9] = 0  # a flat patch's rounding
        ratios = special.gamma(1 / grid) * special.gamma(3 / grid) / special.gamma(2 / grid) ** 2
        rho = (mscn**2).mean() / np.abs(mscn).mean() ** 2
        found += [grid[np.argmin(np.abs(rho - ratios))], (mscn**2).mean()]
        for dy, dx in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            height, width = mscn.shape
            moved = mscn[(np.arange(height) - dy) % height][:, (np.arange(width) - dx) % width]
            pair = mscn * moved
            left, right = (np.sqrt((pair[s] ** 2).mean()) for s in (pair < 0, pair > 0))
            tilt = left / right
            rhat = np.abs(pair).mean() ** 2 / (pair**2).mean()
            rhat *= (tilt**3 + 1) * (tilt + 1) / (tilt**2 + 1) ** 2
            shape = grid[np.argmin((1 / ratios - rhat) ** 2)]
            const = np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
            middle = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape) * const
            found += [shape, middle, left**2, right**2]
        grey = halved(grey)
    return np.array(found)


@pytest.fixture(scope="module")
def photo():
    return pytest.importorskip("skimage.data").astronaut()[:151, 150:330]


def test_brisques_features_are_the_papers(photo):
    for picture in (photo, SOURCE.crops[0], noisy(photo[None], 20)[0]):
        # GGD ratios are searched from the other side: a step of the grid may fall elsewhere.
        np.testing.assert_allclose(features(picture), brisque_features(picture), atol=1.01e-3)
        assert features(picture).shape == (36,)
    near = np.delete(np.arange(36), [0, 2, 6, 10, 14, 18, 20, 24, 28, 32])
    np.testing.assert_allclose(features(photo)[near], brisque_features(photo)[near], atol=1e-4)


def test_halving_is_the_widened_cubic():
    ramp = np.add.outer(np.arange(11.0), 2 * np.arange(12.0))
    half = halved(ramp)
    assert half.shape == (6, 6)
    assert half[2, 2] == pytest.approx(ramp[4:6, 4:6].mean())  # straight lines stay straight
    rng = np.random.default_rng(0)
    grey = rng.random((20, 24))

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    total = weight = 0.0
    for y in range(20):
        for x in range(24):
            w = cubic((y - 8.5) / 2) * cubic((x - 10.5) / 2)
            total, weight = total + w * grey[y, x], weight + w
    assert halved(grey)[4, 5] == pytest.approx(total / weight)


@pytest.fixture
def regression(tmp_path):
    """A small LIBSVM model in its own text, vectors without their zeros, and its file of tensors"""
    rng = np.random.default_rng(0)
    support = rng.uniform(-1, 1, (5, 36)).round(4)
    support[1, 4] = 0
    weight = rng.normal(0, 20, 5).round(3)
    lines = [
        " ".join([str(w), *(f"{i + 1}:{v}" for i, v in enumerate(row) if v)])
        for w, row in zip(weight, support, strict=True)
    ]
    head = (
        "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nnr_class 2\ntotal_sv 5\nrho -50.5\nSV"
    )
    (tmp_path / "allmodel").write_text("\n".join([head, *lines]) + "\n")
    low, high = rng.uniform(-1, 0, 36).round(3), rng.uniform(1, 3, 36).round(3)
    ranges = [f"{i + 1} {a} {b}" for i, (a, b) in enumerate(zip(low, high, strict=True))]
    (tmp_path / "allrange").write_text("\n".join(["x", "-1 1", *ranges]) + "\n")
    out = tmp_path / "brisque_live.safetensors"
    convert(tmp_path / "allmodel", tmp_path / "allrange", out)
    return out, support, weight, low, high


def test_the_regression_is_libsvms(regression):
    out, support, weight, low, high = regression
    found = np.random.default_rng(1).random(36)
    scaled = 2 * (found - low) / (high - low) - 1
    expected = 50.5
    for vector, one in zip(support, weight, strict=True):
        expected += one * np.exp(-0.05 * ((vector - scaled) ** 2).sum())
    assert Regression.read(out).score(found) == pytest.approx(expected, abs=1e-4)


def test_brisque_scores_output_and_source(regression):
    short = drawn(talk(3))
    output = edited(short, blurred(short.crops, 2))
    store = Store((regression[0].parent,))
    found = numbers(Brisque(store), video_case(output=output, source=short))
    judge = Regression.read(regression[0])
    for name, video in (("brisque", output), ("brisque_source", short)):
        expected = np.mean([judge.score(features(crop)) for crop in video.crops])
        assert found[name] == pytest.approx(expected)
    assert found["brisque"] != found["brisque_source"]


def test_brisque_without_its_weight_says_how_to_get_it(tmp_path, regression):
    metric = Brisque(Store((tmp_path / "empty",)))
    assert metric.needs == ("brisque_live",)
    with pytest.raises(InputError, match="brisque_live"):
        metric.observe(video_case())
    with pytest.raises(InputError, match="allrange"):
        convert(tmp_path / "allmodel", tmp_path / "allmodel", tmp_path / "x")
    with pytest.raises(InputError, match="allmodel"):
        convert(tmp_path / "allrange", tmp_path / "allrange", tmp_path / "x")


# -- speed ---


def test_speed_times_the_runs_after_the_warm_up():
    ticks, done = iter(range(100)), []

    def edit():
        done.append(1)
        return 50

    # The clock ticks before every run and after the measured ones only: each takes 1 second.
    found = speed(edit, 2.0, clock=lambda: float(next(ticks)))
    assert len(done) == 15
    assert found.seconds == (1.0,) * 10
    assert (found.fps, found.real_time) == (50.0, 0.5)
    assert found.memory > 10_000_000
    with pytest.raises(InputError, match="lasts"):
        speed(edit, 0.0)
    frames = iter([3, 4])
    with pytest.raises(InputError, match=r"\[3, 4\]"):
        speed(lambda: next(frames), 1.0, warm_ups=1, runs=1)


def test_speed_sees_memory_that_is_held_for_a_while():
    def hungry():
        block = np.ones(20_000_000)
        time.sleep(0.1)
        return len(block)

    little = speed(lambda: 1, 1.0, 0, 1).memory
    assert speed(hungry, 1.0, 0, 1).memory > little + 100_000_000


# -- all of them ---


def cases_for(metric):
    source = drawn(talk(8))
    late = later(source, 2)
    noise, other = edited(late, noisy(late.crops, 4)), drawn(talk(8, 2.0), 1.15, 4, "bert")
    for kind in metric.kinds:
        yield video_case(kind, noise, source, other if kind == "cross" else None)
        if kind != "self":
            yield video_case(kind, other, source, drawn(talk(8, phase=1.0)))


@pytest.mark.parametrize("index", range(len(plain())))
def test_order_changes_nothing_and_values_fit(index, regression):
    metric = plain(Store((regression[0].parent,)))[index]
    rows = []
    for case in cases_for(metric):
        row = metric.observe(case)
        assert {value.shape for value in row.values()} == {(len(case.output),)}
        # A row of floats without a finite one counts as not measured.
        assert all(value.dtype.kind == "b" or np.isfinite(value).any() for value in row.values())
        rows.append(row)
        again = metric.observe(replace(case, cache={}))
        for key, value in row.items():
            np.testing.assert_array_equal(again[key], value)
    a, b = metric.reduce(rows), metric.reduce(rows[::-1])
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert b[key] == pytest.approx(value, rel=1e-12, nan_ok=True)
        assert key.removeprefix("mouth_").startswith(metric.name)
        assert isinstance(value, float)


def test_each_number_has_its_direction(regression):
    for metric in plain(Store((regression[0].parent,))):
        found = numbers(metric, *cases_for(metric))
        own = getattr(metric, "directions", {})
        assert own.keys() <= found.keys()
        for name in found:
            wanted = metric.better
            if name.endswith(("_found", "_pass")):
                wanted = "higher"
            assert own.get(name, metric.better) == wanted
            assert name in own or name.startswith(metric.name)


def test_names_are_their_own():
    metrics = plain()
    assert len({metric.name for metric in metrics}) == len(metrics)
    assert [metric.name for metric in metrics if metric.needs] == ["brisque"]


@pytest.mark.parametrize(
    ("metric", "number", "sign"),
    [
        (OnCrops(Psnr()), "psnr", 1),
        (OnCrops(Psnr()), "mouth_psnr", 1),
        (OnCrops(Ssim()), "mouth_ssim", 1),
        (VideoLmd(), "lmd", -1),
        (VideoLmd(), "lmd_shape", -1),
    ],
)
def test_late_mouths_are_worse(metric, number, sign):
    found = [
        sign * numbers(metric, video_case(output=later(SOURCE, by)))[number] for by in (0, 1, 3, 5)
    ]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
    assert sign * numbers(metric, video_case(output=OTHER))[number] < found[1]


@pytest.mark.parametrize("number", ["psnr", "mouth_psnr", "ssim", "mouth_ssim"])
def test_blur_and_noise_are_worse(number):
    metric = OnCrops(Psnr() if "psnr" in number else Ssim())
    source = drawn(talk(4))
    assert numbers(metric, video_case(source=source))[number] == (
        CEILING_DB if "psnr" in number else pytest.approx(1)
    )
    for damage, strengths in ((blurred, (0.5, 1, 2, 4)), (noisy, (3, 9, 27))):
        found = [
            numbers(
                metric, video_case(output=edited(source, damage(source.crops, s)), source=source)
            )
            for s in strengths
        ]
        values = [one[number] for one in found]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == len(values)


def test_cross_lmd_orders_late_mouths():
    # The same person says something else: late by k frames is worse, the better in time the nearer.
    model = drawn(talk())
    found = [
        numbers(VideoLmd(), video_case("cross", later(SOURCE, by), OTHER, model))["lmd_shape"]
        for by in (0, 1, 3, 5)
    ]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=1e-4)
