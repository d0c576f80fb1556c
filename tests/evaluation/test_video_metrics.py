"""Metrics that are nets: an independent computation, order and batches, worse gets worse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors.numpy import load_file

from core.errors import InputError
from core.media.crop import warp, warp_points
from core.testing import talking_frame
from core.weights import REGISTRY, Store
from evaluation.metrics import fid as fid_module
from evaluation.metrics import frechet_standin, fvd, learned, lse, of_videos, random_backbones
from evaluation.metrics import lpips as lpips_module
from evaluation.metrics.faces import filled
from evaluation.metrics.features import EVERY, Features, content
from evaluation.metrics.fid import Fid
from evaluation.metrics.frechet_standin import LatentFrechet
from evaluation.metrics.fvd import Fvd
from evaluation.metrics.judged import APART
from evaluation.metrics.niqe import NiqeFitted
from evaluation.metrics.stand_ins import tiny_onnx
from evaluation.videos import CROP, Seen, VideoCase, shrunk
from models.experts import inception, lip_reader
from models.experts.imresize import halved

FRAMES = 6
SMALL = replace(CROP, size=128)


def seen(start=0, frames=FRAMES, size=(320, 240), wide=512, spec=SMALL, tint=(1, 1, 1)):
    """A drawn person, ``tint`` making another one of it, as the reader would see the video."""
    drawn = [talking_frame(start + i, *size) for i in range(frames)]
    pictures = [(picture * np.array(tint)).clip(0, 255).astype(np.uint8) for picture, _ in drawn]
    meshes = np.stack([mesh for _, mesh in drawn])
    turns = spec.fit(meshes, np.ones(frames, bool))
    pairs = list(zip(pictures, turns, strict=True))
    rng = np.random.default_rng(start)
    return Seen(
        Path(f"{start}.mp4"), "0" * 16,
        np.stack([shrunk(picture, wide) for picture in pictures]),
        np.stack([warp(picture, turn, spec.size) for picture, turn in pairs]),
        turns, np.stack([warp_points(m, t) for m, t in zip(meshes, turns, strict=True)]),
        size, rng.normal(0, 0.1, 640 * frames).astype(np.float32), 25.0,
    )  # fmt: skip


def case(output, source, audio_video=None, name="a", kind="self"):
    spoke = source if audio_video is None else audio_video
    return VideoCase(name, "ours", output, source, spoke.sound, spoke, kind)


def changed(video, change):
    return replace(video, crops=np.stack([change(crop) for crop in video.crops]))


def blurred(video, sigma):
    return changed(video, lambda crop: cv2.GaussianBlur(crop, (0, 0), sigma))


def noisy(video, sigma):
    rng = np.random.default_rng(1)
    return changed(
        video, lambda crop: (crop + rng.normal(0, sigma, crop.shape)).clip(0, 255).astype(np.uint8)
    )


def numbers(metric, *cases):
    return metric.reduce([metric.observe(each) for each in cases])


def gaussian_distance(a, b):
    """The textbook's formula."""
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    gap = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)


@pytest.fixture(scope="module")
def cases():
    anna, ben = seen(), seen(40, tint=(0.6, 0.9, 1.1))
    return [
        case(blurred(seen(1), 1), anna, name="a"),
        case(noisy(seen(44, tint=(0.6, 0.9, 1.1)), 9), ben, anna, name="b", kind="cross"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where files of random weights lie, made once."""
    return tmp_path_factory.mktemp("random")


@pytest.fixture
def narrow(monkeypatch):
    """Nets whose real size takes minutes, at a fraction of it."""
    sizes = {"WIDTH": 32, "HEADS": 4, "INNER": 48, "DEPTH": 2, "BATCH": 3}
    for name, value in sizes.items():
        monkeypatch.setattr(lip_reader, name, value)
    monkeypatch.setattr(inception, "SIDE", 75)


@pytest.fixture
def random_metric(folder, narrow):
    def make(name, features=None):
        (metric,) = random_backbones(folder, features, only=[name])
        return metric

    return make


def pictures(crops):
    return torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())


# -- independent computations ---


def test_fid_is_the_formula_on_inceptions_features(cases, folder, random_metric):
    metric = random_metric("fid")
    net = inception.FidFeatures(folder / "inception_v3_fid.safetensors")
    sides = []
    for which in ("output", "source"):
        crops = np.concatenate([getattr(each, which).crops for each in cases])
        with torch.inference_mode():
            sides.append(net(pictures(crops)).double().numpy())
    a, b = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in sides)
    # The trace of the root of C C' is that of the roots of the small matrix A B' B A'.
    shared = np.sqrt(np.linalg.eigvalsh(a @ b.T @ b @ a.T).clip(0)).sum()
    gap = ((sides[0].mean(0) - sides[1].mean(0)) ** 2).sum()
    expected = gap + (a**2).sum() + (b**2).sum() - 2 * shared
    found = numbers(metric, *cases)
    assert found["random/fid"] == pytest.approx(expected, rel=1e-4)
    assert found["random/fid_vectors"] == 2 * FRAMES
    assert expected > 0.01
    assert "too few for a covariance" in metric.note([metric.observe(each) for each in cases])


def test_fvd_looks_at_sixteen_frames_as_published(random_metric, folder):
    rng = np.random.default_rng(0)
    template, made, expected = seen(frames=40), [], []
    metric = random_metric("fvd")
    net = torch.jit.load(str(folder / "i3d_torchscript.pt"))
    for _ in range(4):
        videos = []
        for _ in range(2):
            colour = rng.integers(0, 128, (40, 1, 1, 3), np.uint8)
            crops = colour + rng.integers(0, 128, (448, 448, 3), np.uint8)
            videos.append(replace(template, crops=crops))
            four = crops[20:36].astype(int).reshape(16, 224, 2, 224, 2, 3).sum((2, 4))
            given = ((four + 2) // 4).transpose(3, 0, 1, 2)[None] / 255
            with torch.inference_mode():
                vector = net(torch.from_numpy(given).float(), False, False, True)
            expected.append(vector[0].double().numpy())
        made.append(case(*videos))
    a, b = np.stack(expected[::2]), np.stack(expected[1::2])
    assert numbers(metric, *made)["random/fvd"] == pytest.approx(gaussian_distance(a, b), rel=1e-4)
    outside = replace(made[0].output, crops=made[0].output.crops.copy())
    outside.crops[:20], outside.crops[36:] = 0, 255
    again = [replace(made[0], output=outside, cache={}), *made[1:]]
    assert numbers(metric, *again) == numbers(metric, *made)
    assert "400 numbers" in metric.note([metric.observe(each) for each in made])


def test_short_videos_have_no_fvd(cases, random_metric):
    found = numbers(random_metric("fvd"), *cases)
    assert np.isnan(found["random/fvd"])
    assert found["random/fvd_vectors"] == 0


def test_lip_score_is_the_mean_cosine_with_the_video_that_spoke(cases, folder, random_metric):
    metric, means = random_metric("lip_score"), []
    reader = lip_reader.LipReader(folder / "auto_avsr_vsr.safetensors")
    for each in cases:
        a, b = (
            reader.embed(lip_reader.mouth_crops(v.crops, v.mesh).astype(np.float32))
            for v in (each.output, each.audio_video)
        )
        cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
        means.append(np.mean(cosines))
    found = numbers(metric, *cases)
    assert found["random/lip_score"] == pytest.approx(np.mean(means), abs=1e-4)
    assert found["random/lip_score_found"] == 1


def test_lse_are_syncnets_numbers(cases, folder, random_metric):
    from models.experts.syncnet import SyncNetExpert

    metrics = [random_metric(name) for name in ("lse_c", "lse_d")]
    expert = SyncNetExpert(folder / "syncnet_v2.safetensors")
    sure, least, offsets = [], [], []
    for each in cases:
        mesh = lse.in_frames(each.output, each.output.mesh)
        mean = expert.distances(each.output.frames, mesh, each.audio).mean(0)
        sure.append(np.median(mean) - mean.min())
        least.append(mean.min())
        offsets.append(abs(15 - mean.argmin()))
    c, d = (numbers(metric, *cases) for metric in metrics)
    assert c["random/lse_c"] == pytest.approx(np.mean(sure), abs=1e-4)
    assert c["random/lse_c_offset"] == np.mean(offsets)
    assert d["random/lse_d"] == pytest.approx(np.mean(least), abs=1e-4)
    later = np.roll(cases[0].audio, 640)
    moved = metrics[1].observe(replace(cases[0], audio=later, cache={}))
    assert not np.array_equal(moved["distances"], metrics[1].observe(cases[0])["distances"])


def test_both_lse_share_one_computation(cases, random_metric, monkeypatch):
    one = replace(cases[0], cache={})
    random_metric("lse_c").observe(one)
    monkeypatch.setattr(lse._Lse, "_compute", None)  # would fail if it were asked
    random_metric("lse_d").observe(one)


def test_faces_of_large_frames_are_taken_from_the_crop():
    from models.experts.syncnet import face_boxes

    large = seen(size=(1280, 960), wide=256, spec=CROP, frames=3)
    shown, mesh = lse.faces(large, large.mesh)
    whole = lse.in_frames(large, large.mesh)
    for i, turn in enumerate(face_boxes(mesh)):
        np.testing.assert_allclose(turn, [[1, 0, 0], [0, 1, 0]], atol=1e-4)
        best = warp(talking_frame(i, 1280, 960)[0], face_boxes(whole)[i], 224, 110).astype(float)
        apart = np.abs(shown[i] - best)
        rough = np.abs(
            warp(large.frames[i], lse._of_shrunk(face_boxes(whole)[i], (0.2, 0.2)), 224) - best
        )
        assert apart.mean() < 2
        assert apart[40:180, 60:160].mean() < 0.5 * rough[40:180, 60:160].mean()


@pytest.mark.parametrize("name", ["id_mobilefacenet", "id_arcface", "id_facenet512"])
def test_identity_is_the_mean_cosine_of_faces(cases, random_metric, name):
    import onnxruntime

    metric = random_metric(name)
    session = onnxruntime.InferenceSession(str(metric._net.weights))
    cosines = []
    for each in cases:
        for i in range(0, FRAMES, EVERY):
            pair = []
            for video in (each.output, each.source):
                picture = metric._net._prepared(video.crops[i], video.mesh[i])[None]
                given = picture if name == "id_facenet512" else picture.transpose(0, 3, 1, 2)
                pair.append(session.run(None, {"x": given})[0][0])
            cosines.append(pair[0] @ pair[1] / np.linalg.norm(pair[0]) / np.linalg.norm(pair[1]))
    found = numbers(metric, *cases)
    assert found[f"random/{name}"] == pytest.approx(np.mean(cosines), abs=1e-4)
    assert found[f"random/{name}_found"] == 1


def test_frames_without_a_face_are_left_out_and_counted(cases, random_metric):
    one = cases[0]
    hidden = replace(one.output, mesh=one.output.mesh.copy())
    hidden.mesh[EVERY] = np.nan
    metric = random_metric("id_arcface")
    whole, part = (metric.observe(each) for each in (one, replace(one, output=hidden, cache={})))
    looks = len(range(0, FRAMES, EVERY))
    assert np.isnan(part["cosine"][1])
    keep = np.arange(looks) != 1
    np.testing.assert_array_equal(part["cosine"][keep], whole["cosine"][keep])
    found = metric.reduce([part])
    assert found["random/id_arcface_found"] == pytest.approx(1 - 1 / looks)
    assert found["random/id_arcface"] == pytest.approx(whole["cosine"][keep].mean())


def test_faces_lie_in_the_nets_inputs_as_their_trainers_laid_them():
    from models.experts.face_nets import ArcFace512, FaceNet512, upright_box

    video = seen(frames=1)
    red = np.zeros_like(video.crops[0])
    red[..., 0] = 255
    arc = ArcFace512(Path("a"))._prepared(red, video.mesh[0])
    assert arc[56, 56].tolist() == [1, -1, -1]
    face = FaceNet512(Path("a"))._prepared(red, video.mesh[0])
    assert face[80, 80].tolist() == [0, 0, 1]
    turned = warp_points(video.mesh[0], cv2.getRotationMatrix2D((60, 60), 25, 1.0))
    turn, half = upright_box(turned, 160)
    points = warp_points(turned, turn)
    right, left = points[[33, 133], 1].mean(), points[[263, 362], 1].mean()
    assert right == pytest.approx(left, abs=1e-3)
    assert max(half) == pytest.approx(80)
    np.testing.assert_allclose(points[:, :2].max(0) - 79.5, half, atol=1e-2)
    black = (face == 0).all((0, 2))
    assert black.sum() == pytest.approx(160 - 2 * upright_box(video.mesh[0], 160)[1][0], abs=2)


def test_judges_are_averaged(cases, folder, random_metric):
    from models.experts.hyper_iqa import HyperIQAExpert
    from models.experts.niqe import Niqe

    one = replace(cases[0], output=changed(cases[0].output, lambda crop: crop[:, 5:]), cache={})
    scores = [Niqe().score(crop) for crop in one.output.crops[::APART]]
    assert numbers(NiqeFitted(), one)["niqe_fitted"] == pytest.approx(np.mean(scores), abs=1e-4)
    two = replace(one, output=replace(one.output, crops=one.output.crops[:2]), cache={})
    metric = random_metric("hyper_iqa")
    judge = HyperIQAExpert(folder / "hyper_iqa.safetensors")
    expected = np.mean([judge.score(crop) for crop in two.output.crops[::APART]])
    assert numbers(metric, two)["random/hyper_iqa"] == pytest.approx(expected, abs=1e-4)


def test_niqe_is_the_released_computation(cases, folder, random_metric):
    """Block by block and value by value, as LIVE's MATLAB reads."""
    metric = random_metric("niqe")
    output = changed(cases[0].output, lambda crop: cv2.resize(crop, (230, 200)))
    output = noisy(output, 9)  # of flat places rounding alone would be measured
    one = replace(cases[0], output=output, cache={})
    natural = load_file(folder / "niqe_pristine.safetensors")
    scores = [released_niqe(crop, natural) for crop in one.output.crops[::APART]]
    assert numbers(metric, one)["random/niqe"] == pytest.approx(np.mean(scores), rel=1e-4)


def released_niqe(picture, natural):
    from scipy.ndimage import correlate
    from scipy.special import gamma

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)[:192, :192]
    at = np.arange(-3, 4)
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    shapes = np.arange(0.2, 10.001, 0.001)
    ratios = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))

    def fitted(values):
        left = np.sqrt(np.mean(values[values < 0] ** 2))
        right = np.sqrt(np.mean(values[values > 0] ** 2))
        tilt = left / right
        ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
        ratio *= (tilt**3 + 1) * (tilt + 1) / (tilt**2 + 1) ** 2
        shape = shapes[np.argmin((ratios - ratio) ** 2)]
        scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        return shape, left * scale, right * scale

    columns = []
    for side, level in ((96, grey), (48, halved(grey))):
        mean = correlate(level, window, mode="nearest")
        deviation = np.sqrt(np.abs(correlate(level**2, window, mode="nearest") - mean**2))
        normal = (level - mean) / (deviation + 1)
        rows = []
        for y in (0, side):
            for x in (0, side):
                block = normal[y : y + side, x : x + side]
                shape, left, right = fitted(block)
                row = [shape, (left + right) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    shape, left, right = fitted(block * np.roll(block, shift, (0, 1)))
                    tilted = (right - left) * gamma(2 / shape) / gamma(1 / shape)
                    row += [shape, tilted, left, right]
                rows.append(row)
        columns.append(np.array(rows))
    found = np.concatenate(columns, 1)
    apart = natural["mean"] - found.mean(0)
    pooled = np.linalg.pinv((natural["covariance"] + np.cov(found.T)) / 2)
    return np.sqrt(apart @ pooled @ apart)


def test_lpips_is_the_weighted_gap_of_unit_vectors(cases, folder, random_metric):
    metric, one = random_metric("lpips"), cases[0]
    net = metric._net
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    sides = []
    for video in (one.output, one.source):
        given = ((video.crops / 127.5 - 1) - shift) / scale
        with torch.inference_mode():
            levels = net.net(torch.from_numpy(given.transpose(0, 3, 1, 2)).float())
        sides.append([level.double().numpy() for level in levels])
    expected = np.zeros(FRAMES)
    for i, (a, b) in enumerate(zip(*sides, strict=True)):
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-9) for x in (a, b))
        weights = net.lins.state_dict()[f"lin{i}.model.1.weight"].numpy()[0]
        expected += ((a - b) ** 2 * weights).sum(1).mean((1, 2))
    np.testing.assert_allclose(metric.observe(one)["lpips"], expected, atol=1e-4)
    assert expected.min() > 1e-3
    assert numbers(metric, case(one.source, one.source))["random/lpips"] == 0


def test_the_published_weightings_load(tmp_path):
    """Those that torchmetrics carries."""
    metrics = pytest.importorskip("torchmetrics")
    from models.experts.convert import convert
    from models.experts.lpips import Weightings
    from models.experts.published import load_published

    file = Path(metrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    convert(file, tmp_path / "lpips_alex.safetensors")
    lins = load_published(Weightings, tmp_path / "lpips_alex.safetensors", "none")
    assert min(float(value.min()) for value in lins.state_dict().values()) >= 0


def test_latent_frechet_is_the_formula_on_moments_of_latents(cases):
    from models.experts.codec import load_codec

    codec = load_codec("slim", Store(()))
    count = 70 * EVERY
    big = [case(noisy(seen(100, count), 5), seen(0, count))]
    sides = []
    for video in (big[0].output, big[0].source):
        with torch.inference_mode():
            small = [cv2.resize(c, (128, 128), interpolation=cv2.INTER_AREA) for c in video.crops]
            z = (
                codec.encode(pictures(np.stack(small)[::EVERY]).float() / 127.5 - 1)
                .double()
                .numpy()
            )
        sides.append(np.concatenate([z.mean((2, 3)), z.std((2, 3), ddof=1)], 1))
    found = numbers(LatentFrechet(), *big)
    assert found["latent_frechet"] == pytest.approx(gaussian_distance(*sides), rel=1e-4)
    assert LatentFrechet().note([LatentFrechet().observe(big[0])]) == ""


# -- order, batches, what is kept --

QUICK = sorted(n for n in learned.MAKERS if n != "hyper_iqa" and not n.startswith("vbench"))
"""VBench's have a file of their own."""


@pytest.mark.parametrize("name", [*QUICK, "latent_frechet", "niqe_fitted"])
def test_batches_and_order_change_nothing(name, cases, random_metric, monkeypatch):
    def made():
        plain = {"latent_frechet": LatentFrechet, "niqe_fitted": NiqeFitted}
        return plain[name]() if name in plain else random_metric(name)

    fresh = [replace(each, cache={}) for each in cases]
    rows = [made().observe(each) for each in fresh]
    a, b = made().reduce(rows), made().reduce(rows[::-1])
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert key.startswith(made().name)
        assert b[key] == pytest.approx(value, rel=1e-9, nan_ok=True)
    for module in (fid_module, frechet_standin, lpips_module):
        monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(lip_reader, "BATCH", 2)
    again = [made().observe(replace(each, cache={})) for each in cases]
    for row, other in zip(rows, again, strict=True):
        assert len({len(values) for values in row.values()}) == 1
        for key, values in row.items():
            np.testing.assert_allclose(other[key], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fid", "lip_score", "lse_d", "id_arcface", "lpips"])
def test_a_second_run_computes_nothing(name, cases, random_metric, tmp_path, monkeypatch):
    metric = random_metric(name, tmp_path)
    first = [metric.observe(replace(each, cache={})) for each in cases]
    again = random_metric(name, tmp_path)
    monkeypatch.setattr(type(again), "_compute", None)  # would fail if it were asked
    for row, each in zip(first, cases, strict=True):
        for key, values in again.observe(replace(each, cache={})).items():
            np.testing.assert_array_equal(values, row[key])
    with pytest.raises(TypeError):
        again.observe(replace(cases[0], output=blurred(cases[0].output, 3), cache={}))


def test_other_weights_have_other_features_and_damage_is_mended(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    crops = np.zeros((2, 4, 4, 3), np.uint8)
    key = content(crops)
    assert key != content(crops.reshape(2, 4, 3, 4))
    made = []

    def make():
        made.append(1)
        return np.arange(3)

    for weights in (one, two, one):
        Features(tmp_path / "kept", "a/b", weights).of(key, make)
    assert len(made) == 2
    for file in (tmp_path / "kept").rglob("*.npy"):
        file.write_bytes(file.read_bytes()[:-5])
    assert Features(tmp_path / "kept", "a/b", one).of(key, make).tolist() == [0, 1, 2]
    assert len(made) == 3


# -- references --


@pytest.mark.parametrize(
    ("name", "looks_at"),
    [("lip_score", "audio_video"), ("id_arcface", "source"), ("fid", "source"), ("lse_d", "sound")],
)
def test_each_metric_looks_at_its_reference_and_at_no_other(name, looks_at, cases, random_metric):
    metric, cross = random_metric(name), cases[1]
    other = seen(90, tint=(1.1, 0.5, 0.5))
    before = metric.observe(replace(cross, cache={}))
    for part, new in (
        ("source", {"source": other}),
        ("audio_video", {"audio_video": other}),
        ("sound", {"audio": other.sound}),
    ):
        after = metric.observe(replace(cross, **new, cache={}))
        same = all(np.array_equal(after[key], before[key]) for key in before)
        assert same == (part != looks_at), part


@pytest.mark.parametrize("name", ["lip_score", "id_mobilefacenet"])
def test_swapping_source_and_speaker_changes_the_number(name, cases, random_metric):
    metric, cross = random_metric(name), cases[1]
    swapped = replace(cross, source=cross.audio_video, audio_video=cross.source, cache={})
    key = f"random/{name}"
    assert abs(numbers(metric, cross)[key] - numbers(metric, swapped)[key]) > 1e-4


# -- worse is worse, where a backbone is real --


def test_blur_and_noise_worsen_what_ships_with_the_repository():
    real = seen(frames=12)
    for spoil in (blurred, noisy):
        found = [
            numbers(LatentFrechet(), case(spoil(real, s), real))["latent_frechet"]
            for s in (1, 3, 9)
        ]
        assert numbers(LatentFrechet(), case(real, real))["latent_frechet"] < 1e-6 < found[0]
        assert found == sorted(found)


def test_blur_worsens_niqe():
    data = pytest.importorskip("skimage.data")
    photo = data.astronaut()[:256, 90:346]
    real = replace(seen(frames=1), crops=photo[None])
    found = [
        numbers(NiqeFitted(), case(blurred(real, s), real))["niqe_fitted"] for s in (0.1, 1, 2, 4)
    ]
    assert found == sorted(found)


@pytest.fixture(scope="module")
def people(store, clips):
    """Two people and moments of each."""
    from evaluation.videos import Reader, Viewing, first
    from models.experts.face import FaceMesh

    # Nothing fetches this net, a person brings it; the tests with random weights go without.
    if not store.has("mobilefacenet"):
        pytest.skip("mobilefacenet.onnx is in no weights folder")
    reader = Reader(Viewing(seconds=0.5), FaceMesh(store))
    names = ("EDTalk__uncrop_Obama.mp4", "SadTalker__WDA_AlexandriaOcasioCortez_000.mp4")
    return [first(reader.source(clips / name), 8) for name in names]


def test_another_person_lowers_identity_more_than_noise_does(store, people):
    metrics, _ = of_videos(store, None)
    (metric,) = [metric for metric in metrics if metric.name == "id_mobilefacenet"]
    anna, ben = people
    same = numbers(metric, case(anna, anna))["id_mobilefacenet"]
    spoilt = numbers(metric, case(noisy(anna, 20), anna))["id_mobilefacenet"]
    other = numbers(metric, case(ben, anna))["id_mobilefacenet"]
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.4 < spoilt < same


def test_the_metric_has_the_vectors_of_the_projects_own_net(store, people):
    from models.experts.face_nets import MobileFaceNet
    from models.experts.identity import Identity

    video = people[0]
    ours = MobileFaceNet(store.locate("mobilefacenet")).embed(video.crops[0], video.mesh[0])
    np.testing.assert_allclose(
        ours, Identity(store).embed(video.crops[0], video.mesh[0]), atol=1e-6
    )


# -- what is there, what is missing, what is wrong --


def test_metrics_without_weights_are_listed_with_a_remedy(tmp_path):
    found, missing = of_videos(Store((tmp_path,)), None)
    assert [metric.name for metric in found] == ["latent_frechet", "niqe_fitted"]
    assert {each.name for each in missing} == set(learned.MAKERS)
    for each in missing:
        assert each.weights == learned.MAKERS[each.name][0]
        for weight in each.weights:
            assert REGISTRY[weight].file in each.remedy
    (tmp_path / "alexnet.safetensors").touch()
    _, missing = of_videos(Store((tmp_path,)), None)
    (lpips,) = [each for each in missing if each.name == "lpips"]
    assert lpips.weights == ("lpips_alex",)
    assert "alexnet-owt" not in lpips.remedy


def test_weights_that_are_there_make_a_metric_of_that_name(tmp_path):
    random_backbones(tmp_path, only=["lpips", "lse_c"])
    found, _ = of_videos(Store((tmp_path,)), None)
    kinds = {metric.name: metric for metric in found}
    assert {"lpips", "lse_c", "lse_d"} <= set(kinds)
    assert kinds["lse_c"].needs == ("syncnet_v2",)
    assert (kinds["lse_c"].better, kinds["lse_d"].better) == ("higher", "lower")


def test_a_file_with_another_hash_is_no_i3d(tmp_path):
    random_backbones(tmp_path, only=["fvd"])
    with pytest.raises(InputError, match=r"i3d_torchscript\.pt is not the registered"):
        of_videos(Store((tmp_path,)), None)


def test_wrong_files_are_one_sentence(tmp_path, cases):
    wrong = tmp_path / "wrong.pt"
    wrong.write_bytes(b"nothing")
    long = seen(frames=36)
    with pytest.raises(InputError, match="no TorchScript"):
        Fvd(wrong).observe(case(long, long))
    with pytest.raises(InputError, match="no safetensors"):
        Fid(wrong).observe(cases[0])
    for content_, words in (
        (b"nothing", "no ONNX file"),
        (tiny_onnx("a", 160, 512, False), "faces of 112 px"),
        (tiny_onnx("a", 112, 128, False), "128 numbers for a face rather than 512"),
    ):
        wrong.write_bytes(content_)
        with pytest.raises(InputError, match=words):
            learned.identity.arcface(wrong).observe(cases[0])


def test_gaps_between_faces_are_filled():
    mesh = np.full((6, 468, 3), np.nan, np.float32)
    mesh[1], mesh[4] = 10, 40
    assert filled(mesh)[:, 0, 0].tolist() == [10, 10, 20, 30, 40, 40]
    assert filled(np.full((2, 468, 3), np.nan)) is None


def test_videos_without_a_face_have_no_number(cases, random_metric):
    nobody = replace(cases[0].output, mesh=np.full_like(cases[0].output.mesh, np.nan))
    for name in ("lip_score", "lse_c", "lse_d", "id_arcface"):
        metric = random_metric(name)
        found = numbers(metric, replace(cases[0], output=nobody, cache={}))
        assert np.isnan(found[metric.name])


@pytest.mark.slow  # CLIP's and the lip reader's weights alone are 2 GB
@pytest.mark.timeout(1200)
def test_nets_of_the_published_size_run_with_random_weights(tmp_path):
    long = seen(frames=36)
    for metric in random_backbones(tmp_path, tmp_path / "kept"):
        found = numbers(metric, case(blurred(long, 1), long))
        assert metric.name in found
        assert metric.name == "random/fvd" or np.isfinite(found[metric.name]), metric.name
    assert fvd.WINDOW.stop == 36
