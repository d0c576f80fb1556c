"""VBench's six numbers and their total: independent computations, order and batches, worse gets
worse where random nets can show it.

Random nets say nothing of beauty, blur or motion, so a worse number for a worse video is shown of
the consistencies (any net tells two people apart), and of smoothness and motion with nets that do
by hand what the published ones have learned.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from core.errors import InputError
from core.testing import talking_frame
from core.weights import Store
from evaluation.metrics import learned, of_videos, random_backbones, vbench
from evaluation.metrics.stand_ins import STAND_INS
from evaluation.metrics.vbench_motion import DynamicDegree, MotionSmoothness
from evaluation.metrics.vbench_total import NEEDS, RANGES
from evaluation.scores import Scores
from models.experts import clip_vision, dino, musiq, raft
from models.experts.published import load_published
from tests.evaluation.drawn_videos import drawn, talk, video_case

SIZE = (176, 144)
SIX = [name for name in learned.MAKERS if name.startswith("vbench") and name != "vbench_total"]
FRAMES = 7


def frames(count=FRAMES, tint=(1.0, 1.0, 1.0), start=0):
    made = [talking_frame(start + i, *SIZE)[0] * np.array(tint) for i in range(count)]
    return np.stack(made).clip(0, 255).astype(np.uint8)


def of(pictures, fps=25.0, name="pair"):
    seen = replace(drawn(talk(2)), frames=np.asarray(pictures), fps=fps)
    return replace(video_case(output=seen), name=name)


def number(metric, *cases):
    return metric.reduce([metric.observe(each) for each in cases])[metric.name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where files of random weights lie, made once."""
    return tmp_path_factory.mktemp("random")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Nets whose real size takes minutes, at a fraction of it."""
    for module in (dino, musiq):
        for name, value in {"WIDTH": 48, "HEADS": 4, "DEPTH": 2}.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(musiq, "INNER", 64)
    monkeypatch.setattr(raft, "STEPS", 2)
    towers = {"clip_vit_b32": (48, 4, 2, 32, 512), "clip_vit_l14": (56, 4, 2, 14, 768)}
    for name, sizes in towers.items():
        monkeypatch.setitem(clip_vision.TOWERS, name, clip_vision.Tower(*sizes))


@pytest.fixture
def metric(folder):
    """Makes a metric; what is not about computing shares what was computed."""

    def make(name, features=folder / "kept"):
        (found,) = random_backbones(folder, features, only=[name])
        return found

    return make


@pytest.fixture(scope="module")
def cases():
    both = np.concatenate([frames(3), frames(2, (0.4, 0.8, 1.0), 50)])
    return [of(frames(), name="a"), of(both, name="b")]


def net(make, folder, name):
    return load_published(make, folder / f"{name}.safetensors", "wrong", clip_vision.UNUSED)


def computed(make, pictures):
    """A net's output for (T,h,w,3), float64."""
    with torch.inference_mode():
        given = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
        return make(given).double().numpy()


# -- independent computations --


def short_224(pictures, how):
    size = (round(224 * SIZE[0] / SIZE[1] - 0.5), 224)
    return np.stack([cv2.resize(p / np.float32(255), size, interpolation=how) for p in pictures])


def for_clip(pictures):
    wide = short_224(pictures, cv2.INTER_CUBIC)
    left = round((wide.shape[2] - 224) / 2)
    mean, deviation = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    return (wide[:, :, left : left + 224] - mean) / deviation


def consistency(vectors):
    """One video's values, as the paper has them."""
    found = []
    for i in range(1, len(vectors)):
        a, b, c = (v / np.linalg.norm(v) for v in (vectors[i], vectors[i - 1], vectors[0]))
        found.append((max(0, a @ b) + max(0, a @ c)) / 2)
    return found


def test_consistencies_are_cosines_with_the_frame_before_and_the_first(cases, folder, metric):
    subject, background = (metric(f"vbench_{k}_consistency") for k in ("subject", "background"))
    found = [number(each, *cases) for each in (subject, background)]
    eye = net(dino.Dino, folder, "dino_vitb16")
    scene = net(lambda: clip_vision.ClipVision("clip_vit_b32"), folder, "clip_vit_b32")
    expected = ([], [])
    for case in cases:
        given = short_224(case.output.frames, cv2.INTER_LINEAR)
        given = (given - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        expected[0].extend(consistency(computed(eye, given)))
        expected[1].extend(consistency(computed(scene, for_clip(case.output.frames))))
    assert found == pytest.approx([np.mean(each) for each in expected], abs=1e-4)
    assert len(expected[0]) == 6 + 4  # frames of long videos count more
    assert max(found) < 0.9999


def test_smoothness_is_what_a_guess_of_every_second_frame_misses(cases, folder, metric):
    from models.experts.amt import Amt

    found = number(metric("vbench_motion_smoothness"), *cases)
    between, videos = net(Amt, folder, "amt_s"), []
    for case in cases:
        given, gaps = case.output.frames, []
        for i in range(0, len(given) - 2, 2):
            a, b = (
                torch.from_numpy(given[k] / np.float32(255)).permute(2, 0, 1) for k in (i, i + 2)
            )
            with torch.inference_mode():
                guess = between(a[None], b[None])[0].permute(1, 2, 0).numpy()
            gaps.append(np.abs(np.floor(255 * guess) - given[i + 1]).mean())
        videos.append((255 - np.mean(gaps)) / 255)
    assert found == pytest.approx(np.mean(videos), abs=1e-4)
    assert found < 0.999


def test_dynamic_degree_counts_videos_whose_fastest_pixels_move(cases, folder, metric):
    degree, flow = metric("vbench_dynamic_degree"), net(raft.Raft, folder, "raft_things")
    moving = []
    for case in cases:
        given = case.output.frames[::3]
        lengths = []
        for pair in itertools.pairwise(given):
            a, b = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in pair)
            with torch.inference_mode():
                u, v = flow(a, b)[0].double().numpy()
            fastest = np.sort(np.hypot(u, v).ravel())[::-1][: int(0.05 * u.size)]
            lengths.append(fastest.mean())
        threshold = 6 * min(SIZE) / 256
        moving.append(sum(x > threshold for x in lengths) >= round(4 * len(given) / 16))
        values = degree.observe(case)["value"]
        np.testing.assert_allclose(values, np.array(lengths) / threshold, rtol=1e-4)
    assert number(degree, *cases) == np.mean(moving)


def test_qualities_are_means_of_frames_then_of_videos(cases, folder, metric):
    beauty = metric("vbench_aesthetic_quality")
    image = metric("vbench_imaging_quality")
    clip = net(lambda: clip_vision.ClipVision("clip_vit_l14"), folder, "clip_vit_l14")
    head = net(clip_vision.AestheticHead, folder, "laion_aesthetic").state_dict()
    judge = net(musiq.Musiq, folder, "musiq_spaq")
    expected = ([], [])
    for case in cases:
        vectors = computed(clip, for_clip(case.output.frames))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = vectors @ head["weight"][0].double().numpy() + head["bias"].double().numpy()
        expected[0].append(scores.mean() / 10)
        singly = [computed(judge, frame[None] / 255)[0] for frame in case.output.frames]
        expected[1].append(np.mean(singly) / 100)
    assert number(beauty, *cases) == pytest.approx(np.mean(expected[0]), abs=1e-4)
    assert number(image, *cases) == pytest.approx(np.mean(expected[1]), abs=1e-4)
    assert abs(np.mean(expected[0])) > 1e-4
    assert abs(np.mean(expected[1])) > 1e-4


def test_frames_beyond_512_px_are_shrunk_for_musiq():
    from evaluation.metrics.vbench_quality import longest

    wide = torch.rand(1, 3, 100, 1000)
    expected = cv2.resize(wide[0].permute(1, 2, 0).numpy(), (512, 51))
    np.testing.assert_allclose(longest(wide)[0].permute(1, 2, 0), expected, atol=1e-5)
    assert longest(wide[..., :512]).shape == (1, 3, 100, 512)


def test_the_total_is_the_mean_of_the_six_in_their_ranges(cases, metric):
    ends = {
        "vbench_subject_consistency": (0.1462, 1), "vbench_background_consistency": (0.2615, 1),
        "vbench_motion_smoothness": (0.706, 0.9975),
    }  # fmt: skip
    parts = []
    for name in SIX:
        low, high = ends.get(name, (0, 1))
        parts.append((number(metric(name), *cases) - low) / (high - low))
    assert number(metric("vbench_total"), *cases) == pytest.approx(np.mean(parts), abs=1e-9)
    assert len(parts) == 6


# -- order, batches, what is kept, what is shared --


@pytest.mark.parametrize("name", SIX)
def test_batches_order_and_merging_change_nothing(name, cases, metric, monkeypatch):
    made = metric(name, None)
    rows = [made.observe(replace(each, cache={})) for each in cases]
    one = made.reduce(rows)
    assert made.reduce(rows[::-1])[made.name] == pytest.approx(one[made.name], rel=1e-9)
    named = {made.name: made}
    halves = [
        Scores(named, {(made.name, each.name): row}, pairs=(each.name,))
        for each, row in zip(cases, rows, strict=True)
    ]
    assert halves[1].merged(halves[0]).values() == Scores(named).merged(*halves).values() == one
    assert set(halves[0].merged(halves[1]).by_video()) == {"a", "b"}
    monkeypatch.setattr(vbench, "BATCH", 2)
    for each, row in zip(cases, rows, strict=True):
        again = made.observe(replace(each, cache={}))
        assert len({len(values) for values in row.values()}) == 1
        for key, values in row.items():
            np.testing.assert_allclose(again[key], values, rtol=1e-4, atol=1e-6)


def test_the_order_of_videos_does_not_change_the_total(cases, metric):
    made = metric("vbench_total")
    rows = [made.observe(replace(each, cache={})) for each in cases]
    assert made.reduce(rows[::-1])[made.name] == pytest.approx(made.reduce(rows)[made.name])
    assert {len(values) for values in rows[0].values()} == {1}
    named = {made.name: made}
    halves = [
        Scores(named, {(made.name, each.name): row}, pairs=(each.name,))
        for each, row in zip(cases, rows, strict=True)
    ]
    assert halves[1].merged(halves[0]).values() == made.reduce(rows)


def test_a_second_run_computes_nothing(cases, metric, tmp_path, monkeypatch):
    one = cases[1]
    first = metric("vbench_total", tmp_path).observe(replace(one, cache={}))["number"]
    for part in RANGES:
        monkeypatch.setattr(part, "_compute", None)  # would fail if it were asked
    again = metric("vbench_total", tmp_path)
    np.testing.assert_array_equal(again.observe(replace(one, cache={}))["number"], first)
    with pytest.raises(TypeError):
        again.observe(of(frames(start=9)))


def test_the_total_takes_what_the_six_have_computed(cases, metric, monkeypatch):
    one = replace(cases[1], cache={})
    for name in SIX:
        metric(name, None).observe(one)
    for part in RANGES:
        monkeypatch.setattr(part, "_compute", None)
    assert np.isfinite(metric("vbench_total", None).observe(one)["number"]).all()


def test_only_the_output_counts(cases, metric):
    made, other = metric("vbench_total"), drawn(talk(2), 1.3)
    changed = replace(cases[0], source=other, audio_video=other, audio=other.sound, cache={})
    np.testing.assert_array_equal(
        made.observe(changed)["number"], made.observe(replace(cases[0], cache={}))["number"]
    )


# -- worse is worse --


@pytest.mark.parametrize("name", ["vbench_subject_consistency", "vbench_background_consistency"])
def test_another_person_and_noise_make_a_video_less_consistent(name, metric):
    made, still = metric(name), np.repeat(frames(1), 4, 0)
    rng = np.random.default_rng(0)
    noise = (still + rng.normal(0, 60, still.shape)).clip(0, 255).astype(np.uint8)
    noise[0] = still[0]
    other = np.stack([still[0], frames(1, (0.3, 0.8, 1.0))[0]] * 2)
    assert number(made, of(still)) == pytest.approx(1, abs=1e-6)
    assert number(made, of(noise)) < 1 - 1e-4
    assert number(made, of(other)) < 1 - 1e-4


class Average(nn.Module):
    """Stands for AMT: the frame between two is their mean, right where light changes evenly."""

    def forward(self, before, after):
        return (before + after) / 2


class Shifted(nn.Module):
    """Stands for RAFT: the one move of the whole picture, by phase correlation."""

    def forward(self, ours, theirs):
        grey = [x[0].mean(0).double().numpy() for x in (ours, theirs)]
        (x, y), _ = cv2.phaseCorrelate(*grey)
        return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, *ours.shape[2:])


def fading(steps):
    """A wall whose light rises by steps."""
    grain = np.random.default_rng(0).integers(0, 60, (SIZE[1], SIZE[0], 3))
    return (grain + 20 + np.cumsum(steps)[:, None, None, None]).astype(np.uint8)


def test_dropped_frames_are_less_smooth(tmp_path):
    made = MotionSmoothness(tmp_path)
    made.__dict__["_net"] = Average()
    even = np.full(13, 8)
    found = [number(made, of(fading(even)))]
    for held in (3, 6):
        # A frame that is shown again in place of the next, which then comes at once.
        steps = even.copy()
        steps[held::held] = 0
        steps[held + 1 :: held] = 16
        found.append(number(made, of(fading(steps))))
    assert found[0] >= 1 - 1 / 255  # a guess is cut down to a whole number
    assert found[1] < found[2] - 1 / 255 < found[0] - 2 / 255


def test_a_video_is_dynamic_from_the_threshold_on(tmp_path):
    made = DynamicDegree(tmp_path)
    made.__dict__["_net"] = Shifted()
    wall = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    wall = cv2.GaussianBlur(wall, (0, 0), 2) * 2

    def moving(by):
        """Pixels an eighth of a second, at 8 frames a second."""
        return of([np.roll(wall, i * by, 1) for i in range(9)], fps=8.0)

    threshold = 6 * min(SIZE) / 256  # 3.4 px
    values = [made.observe(moving(by))["value"].mean() * threshold for by in (0, 3, 5)]
    np.testing.assert_allclose(values, [0, 3, 5], atol=0.1)
    assert [number(made, moving(by)) for by in (0, 3, 4)] == [0, 0, 1]
    assert number(made, moving(0), moving(4)) == 0.5
    # Two moves of eight are enough for nine frames, one is not.
    for moves, dynamic in ((1, 0), (2, 1)):
        steps = np.cumsum([0] + [5] * moves + [0] * (8 - moves))
        assert number(made, of([np.roll(wall, s, 1) for s in steps], fps=8.0)) == dynamic
    assert len(made.observe(of(np.stack([wall] * 7), fps=25.0))["value"]) == 2  # every third


# -- what is there, what is missing, what is wrong --


def test_short_videos_have_no_number_between_frames(metric):
    short = of(frames(1))
    for name in SIX:
        has = name.endswith("quality")
        assert np.isfinite(number(metric(name), short)) == has, name
    assert np.isnan(number(metric("vbench_total"), short))
    long = of(frames(5), name="b")
    total = metric("vbench_total")
    assert np.isfinite(number(total, short, replace(long, cache={})))


def test_frames_too_small_for_motion_are_one_sentence(metric):
    small = of(frames()[:, :100])
    for name in ("vbench_motion_smoothness", "vbench_dynamic_degree", "vbench_total"):
        with pytest.raises(InputError, match=r"176 x 100 px .* needs 128 each way"):
            metric(name).observe(replace(small, cache={}))


def test_the_total_stands_only_where_all_six_do(tmp_path):
    for weight in set(NEEDS) - {"amt_s"}:
        STAND_INS[weight](tmp_path / f"{weight}.safetensors")
    found, missing = of_videos(Store((tmp_path,)), None)
    there = {each.name for each in found}
    lacking = {each.name: each for each in missing if each.name.startswith("vbench")}
    assert set(SIX) - there == {"vbench_motion_smoothness"}
    assert set(lacking) == {"vbench_motion_smoothness", "vbench_total"}
    assert lacking["vbench_total"].weights == ("amt_s",)
    assert "amt-s.pth" in lacking["vbench_total"].remedy
    STAND_INS["amt_s"](tmp_path / "amt_s.safetensors")
    found, _ = of_videos(Store((tmp_path,)), None)
    assert {*SIX, "vbench_total"} <= {each.name for each in found}


@pytest.mark.parametrize("name", SIX)
def test_wrong_files_are_one_sentence(name, metric, tmp_path):
    make = learned.MAKERS[name][1]
    wrong = tmp_path / "wrong.safetensors"
    STAND_INS["lpips_alex"](wrong)
    made = make(*[wrong] * len(make.needs), features=None)
    with pytest.raises(InputError, match=r"wrong\.safetensors is no .*(convert|get)"):
        made.observe(of(frames(5)))
