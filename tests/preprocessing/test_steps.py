from __future__ import annotations

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.clip import Clip
from core.media.audio import decode_flac, read_sound
from core.media.crop import CropSpec
from core.media.video import decode_mp4
from core.sample import SCHEMA
from core.shards import read_manifest, read_samples
from core.testing import dummy_video
from core.weights import Store
from models.experts.face import Face
from preprocessing.recipes import flashlips, flashlips_debug
from preprocessing.run import preprocess
from preprocessing.steps.crop import Crop
from preprocessing.steps.frames import Frames
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment
from preprocessing.steps.speech import Speech
from preprocessing.steps.track import Track, bridge
from preprocessing.steps.viseme import Viseme


def test_bridge():
    found = np.array([False, True, True, False, False, True, False])
    meshes = [None if not f else np.full((468, 3), float(i)) for i, f in enumerate(found)]
    bridged = bridge(meshes)[:, 0, 0]
    assert np.allclose(bridged, [1, 1, 2, 3, 4, 5, 5])


class _FakeMesh:
    """Finds a face in frames that are not black."""

    def reset(self) -> None:
        pass

    def detect(self, frame):
        return [self.track(frame)] if frame.any() else []

    def track(self, frame):
        return Face(np.full((468, 3), 9.0), 1.0, (0, 0, 1, 1)) if frame.any() else None


def _followed(dark, count, max_gap=2, min_frames=3):
    """Parts of a segment whose frames in ``dark`` show no face; frame i is of grey 100 + i."""
    frames = [np.full((8, 8, 3), 0 if i in dark else 100 + i, np.uint8) for i in range(count)]
    step = Track(Store(()), max_gap=max_gap, min_frames=min_frames)
    object.__setattr__(step, "_net", _FakeMesh())
    fields = {
        "frames": Frames("x", (2.0, 2.0 + count / 25), count, tuple(frames)),
        "sound_around": {"sound": np.zeros(9), "offset": 50},
    }
    facts = {"sha256": "0", "first_frame": 50, "clip_frames": 500}
    return list(step([Clip("x", "x", (2.0, 2.0 + count / 25), fields, facts)]))


@pytest.mark.parametrize("dark", [[4, 5], [0, 9], []])
def test_short_gaps_are_bridged(dark):
    (clip,) = _followed(dark, 10)
    assert clip.drop is None
    assert (clip.id, clip.facts["bridged"]) == ("x", len(dark))
    assert clip.fields["mesh"].shape == (10, 468, 3)


def test_a_face_that_leaves_and_comes_back_splits_the_segment():
    one, gap, two = _followed(range(6, 20), 30)
    assert (one.drop, two.drop) == (None, None)
    assert (gap.drop.reason, gap.drop.threshold) == ("no face", 2)
    # In the gap a face is looked for every fifth frame: it is found again within four.
    back = two.facts["first_frame"] - 50
    assert 20 <= back < 24
    assert gap.drop.value == back - 6
    assert one.span_s == (2.0, pytest.approx(2.0 + 6 / 25))
    assert two.span_s == (pytest.approx(2.0 + back / 25), pytest.approx(2.0 + 30 / 25))
    assert len({"x", one.id, gap.id, two.id}) == 4
    assert [f[0, 0, 0] for f in two.fields["frames"]] == list(range(100 + back, 130))
    assert len(two.fields["mesh"]) == len(two.fields["found"]) == 30 - back
    assert two.fields["sound_around"]["offset"] == 50 + back
    assert (one.facts["clip_frames"], two.facts["clip_frames"]) == (500, 500)


def test_parts_too_short_are_rejected_rows():
    parts = _followed([2, 3, 4], 5, max_gap=2)
    assert [(p.drop.reason, p.drop.value, p.drop.threshold) for p in parts] == [
        ("face seen too briefly", 2, 3),
        ("no face", 3, 2),
    ]


def test_a_segment_without_a_face_is_one_row():
    (clip,) = _followed(range(40), 40)
    assert (clip.drop.reason, clip.drop.value, clip.drop.threshold) == ("no face", 40, 2)


def test_a_part_of_frames_is_the_same_kept_and_decoded_again(tmp_path, video):
    path = video(tmp_path / "v.mp4", seconds=1.4)
    whole = Frames(str(path), (0.2, 1.2), 25)
    lazy = list(whole.part(5, 15).part(2, 8))
    kept = list(replace(whole, kept=tuple(whole)).part(7, 13))
    assert len(lazy) == len(kept) == 6
    assert all(np.array_equal(x, y) for x, y in zip(lazy, kept, strict=True))


def test_a_segment_with_too_few_frames_is_rejected():
    frames = tuple(np.full((8, 8, 3), 200, np.uint8) for _ in range(8))
    step = Track(Store(()))
    object.__setattr__(step, "_net", _FakeMesh())
    (clip,) = step([Clip("x", "x", fields={"frames": Frames("x", (0, 0.4), 10, frames)})])
    assert clip.drop is not None
    assert clip.drop.reason == "fewer frames than promised"


def test_frames_are_the_same_kept_decoded_again_or_pickled(tmp_path, video):
    path = video(tmp_path / "v.mp4", seconds=1.4)
    (clip,) = Probe()([Clip("x", str(path), facts={"sha256": "0"})])
    parts = list(Segment(longest_s=0.8)([clip]))
    for part in parts:
        first, again = Read(keep_mb=400), Read(keep_mb=0)
        for step in (first, again):
            step.setup()
        (a,), (b,) = first([part]), again([part])
        kept, lazy = list(a.fields["frames"]), list(b.fields["frames"])
        assert a.fields["frames"].kept is not None
        assert b.fields["frames"].kept is None
        moved = list(pickle.loads(pickle.dumps(a.fields["frames"])))
        assert len(kept) == len(lazy) == len(moved)
        for x, y, z in zip(kept, lazy, moved, strict=True):
            assert np.array_equal(x, y)
            assert np.array_equal(x, z)


def test_margin_video_shares_the_crops_centre():
    step = Crop(CropSpec(size=128), margin=2.0, margin_px=256)
    transform = np.array([[0.5, 0.1, 3], [-0.1, 0.5, 9]], np.float32)
    wide = step._margin(transform)
    point = np.array([140.0, 120.0, 1.0])
    assert np.allclose(wide @ point, transform @ point + 64, atol=1e-3)


def test_a_segments_speech_is_the_whole_clips(clips, store, tmp_path):
    """Features of a segment in the middle equal those of the whole sound, cut there."""
    from models.experts.speech import load_speech

    sound = np.tile(read_sound(clips / "LipNet__bbaf2n.mpg"), 7)[: 20 * 16_000]
    name = "whisper-tiny.en" if store.has("whisper_tiny_en") else "log-mel"
    whole = load_speech(name, store).features(sound, 500)
    read = Read()
    read.setup()
    read._last.update(source="x", sound=sound)
    facts = {"has_sound": True, "width": 9, "height": 9, "duration_s": 20.0}
    clip = Clip("x", "x", (9.4, 10.2), facts=facts)
    around = Read._read(_Lazy(read), clip).fields["sound_around"]
    step = Speech(name, store)
    step.setup()
    landmarks = np.zeros((20, 468, 3))
    (done,) = step([Clip("x", "x", fields={"sound_around": around, "landmarks": landmarks})])
    assert np.abs(done.fields["speech"].astype(np.float32) - whole[235:255]).max() < 0.005
    heard, _ = decode_flac(done.fields["sound"])
    assert np.allclose(heard, sound[150_400 : 150_400 + 12_800], atol=1e-3)


class _Lazy:
    """Read's own method with frames never decoded."""

    keep_mb = -1
    reader = "pyav"

    def __init__(self, read: Read) -> None:
        self._sound = read._sound


def test_viseme_is_cut_to_the_segment_and_others_pass(tmp_path):
    (tmp_path / "v.json").write_text('{"opening": [0, 1, 2, 3, 4, 5]}')
    fields = {"landmarks": np.zeros((3, 468, 3))}
    clip = Clip("x", str(tmp_path / "v.mp4"), fields=fields, facts={"first_frame": 2})
    (same,) = Viseme()([clip])
    assert same is clip
    (done,) = Viseme()([clip.noting(viseme_json=str(tmp_path / "v.json"))])
    assert done.fields["viseme"].tolist() == [2, 3, 4]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


def test_a_real_clip_becomes_a_whole_sample(made, clips, store, cut):
    (made / "raw").mkdir()
    cut(clips / "LipNet__bbaf2n.mpg", made / "raw" / "s1.mp4")
    preprocess("folder", made / "raw", made / "out", flashlips_debug(), store=store)
    origin = read_manifest(made / "out").origin
    assert origin["crop"] == "flashlips@128"
    assert origin["mask"] == "lower_face@2"
    assert origin["speech"] == "log-mel"
    assert origin["codec"].startswith("slim@")
    (sample,) = read_samples(made / "out")
    required = {name for name, field in SCHEMA.items() if field.required}
    assert required <= sample.keys()
    count = 26
    for name, value in sample.items():
        if isinstance(value, np.ndarray):
            assert len(value) == count, name
            assert np.isfinite(value.astype(np.float32)).all(), name
    assert sample["crop"].shape == (count, 128, 128, 3)
    assert sample["latent_source"].shape == (count, 32, 16, 16)
    assert sample["latent_source"].dtype == np.float16
    # The lips lie in M, M in the middle of the crop; outside M the two latents mostly agree.
    inside = (sample["lips_mask"] & sample["mask"]).sum() / sample["lips_mask"].sum()
    assert inside > 0.99
    change = np.abs(sample["latent_source"] - sample["latent_masked"]).mean((0, 1))
    assert change[:3].mean() < 0.5 * change[9:13, 5:11].mean()
    # The kept video, cut at its centre, is the crop.
    wide = decode_mp4(sample["video"])
    assert wide.shape == (count, 256, 256, 3)
    difference = np.abs(wide[:, 64:192, 64:192].astype(int) - sample["crop"]).mean()
    assert difference < 6
    # The crop holds the eyes where the template says.
    eyes = sample["landmarks"][:, [33, 263], :2].mean(0)
    template = {index: (x * 128, y * 128) for index, x, y in CropSpec().points}
    assert np.allclose(eyes, [template[33], template[263]], atol=6)
    assert cv2.meanStdDev(sample["crop"][0])[1].min() > 5


@pytest.mark.ray
def test_nets_give_the_same_bytes_on_ray(tmp_path, store):
    """Mesh, masks, latents and speech of drawn faces: as bytes, in a loop and on actors."""
    raw = tmp_path / "raw"
    for i, size in enumerate([(320, 240), (300, 260)]):
        dummy_video(raw / f"{i}.mp4", 1.0 + 0.2 * i, size=size, face=True)
    recipe = flashlips() if store.has("whisper_tiny_en") else flashlips_debug()
    found = []
    for engine in ("local", "ray"):
        out = tmp_path / engine
        preprocess("folder", raw, out, recipe, engine, store)
        found.append([(s.name, s.sha256) for s in read_manifest(out).shards])
        names = {name for sample in read_samples(out) for name in sample}
        assert names >= {"landmarks", "mask", "lips_mask", "latent_masked", "speech"}
        assert len(list(read_samples(out))) == 2
    assert found[0] == found[1]
