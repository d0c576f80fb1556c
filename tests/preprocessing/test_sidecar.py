"""Sidecars: fields added to finished shards without their raw files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from core.media.crop import CropSpec
from core.shards import (
    Manifest,
    field_names,
    read_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from preprocessing.recipes import PreprocessRecipe, flashlips_debug
from preprocessing.run import preprocess
from preprocessing.sidecar import sidecar
from preprocessing.sidecars import latents, recrop, speech
from tests.preprocessing.killing import killed_midway

HERE = Path(__file__).parent
FRAMES = 30


def shards(out) -> dict[str, str]:
    return {s.name: s.sha256 for s in read_manifest(out).shards}


@pytest.fixture
def parent(tmp_path, video, cheap):
    for i in range(4):
        video(tmp_path / "raw" / f"clip {i}.mp4", seed=i)
    preprocess("folder", tmp_path / "raw", tmp_path / "set", cheap, settings=["shard_mb=0.03"])
    shutil.rmtree(tmp_path / "raw")  # raw files are not needed any more
    return tmp_path / "set"


@pytest.fixture
def grey(cheap) -> PreprocessRecipe:
    return replace(cheap, steps="cheap_chain:more", shard_mb=0.001)


def test_fields_are_added_under_the_same_keys(parent, grey, tmp_path):
    out = sidecar([parent], tmp_path / "more", grey).parent
    made = read_manifest(out)
    assert made.parents == (read_manifest(parent).hash(),)
    assert made.fields == ("opening",)
    alone = list(read_samples(out))
    before = list(read_samples(parent))
    both = list(read_samples([parent, out]))
    assert [s["key"] for s in both] == [s["key"] for s in before] == [s["key"] for s in alone]
    assert set(alone[0]) == {"key", "info", "opening"}
    assert alone[0]["info"] == {**before[0]["info"], "facts": {"grey": 1}}, "its own facts only"
    for old, new in zip(before, both, strict=True):
        assert set(new) == {"key", "info", "crop", "opening"}
        assert np.array_equal(new["crop"], old["crop"])
        assert np.allclose(new["opening"], old["crop"].mean((1, 2, 3)))
        assert new["info"] == {**old["info"], "facts": {**old["info"]["facts"], "grey": 1}}
    assert {"crop", "opening"} <= next(iter(field_names([parent, out])))[1]
    assert set(next(read_samples([parent, out], ["opening"]))) == {"key", "info", "opening"}
    assert read_manifest([parent, out]).hash() != read_manifest(parent).hash()


def test_a_finished_sidecar_is_recognised_and_made_again_for_other_parents(
    parent, grey, tmp_path, monkeypatch
):
    out, calls = tmp_path / "more", tmp_path / "calls"
    monkeypatch.setenv("CHEAP_CALLS", str(calls))
    sidecar([parent], out, grey)
    first = shards(out)
    assert len(calls.read_text().splitlines()) == 4
    sidecar([parent], out, grey)
    assert len(calls.read_text().splitlines()) == 4
    assert shards(out) == first


def test_samples_that_a_step_drops_are_left_out_of_the_union(parent, grey, tmp_path, monkeypatch):
    keys = [s["key"] for s in read_samples(parent)]
    monkeypatch.setenv("CHEAP_REJECT", keys[1])
    out = sidecar([parent], tmp_path / "more", grey).parent
    assert read_manifest(out).dropped == (keys[1],)
    assert [s["key"] for s in read_samples([parent, out])] == [keys[0], *keys[2:]]
    assert [key for key, _, _ in field_names([parent, out])] == [keys[0], *keys[2:]]


def test_sets_that_do_not_belong_together(parent, grey, tmp_path):
    out = sidecar([parent], tmp_path / "more", grey).parent
    with pytest.raises(InputError, match="is no sidecar of"):
        list(read_samples([out, parent]))
    sample = {"key": "x", "info": {}}
    other = tmp_path / "other"
    write_manifest(other, Manifest({}, [write_shard(other / "s.tar", [sample])]))
    with pytest.raises(InputError, match="is a sidecar of other shards"):
        read_manifest([other, out])
    odd = tmp_path / "odd"
    file = write_shard(odd / "s.tar", [sample])
    hashes = (read_manifest(parent).hash(),)
    write_manifest(odd, Manifest({}, [file], parents=hashes, fields=("pose",)))
    with pytest.raises(InputError, match="differ in 5 keys, such as"):
        read_manifest([parent, odd])
    keys = tuple(s["key"] for s in read_samples(parent))
    file = write_shard(odd / "s.tar", [{"key": k, "info": {}} for k in reversed(keys)])
    write_manifest(odd, Manifest({}, [file], parents=hashes, fields=("pose",)))
    with pytest.raises(InputError, match="in another order"):
        list(read_samples([parent, odd]))
    with pytest.raises(InputError, match="no shards given"):
        read_manifest([])


def test_steps_that_need_what_is_not_there(parent, grey, tmp_path):
    with pytest.raises(InputError, match=r"step 'latents' needs mask, which .* does not hold"):
        sidecar([parent], tmp_path / "o", latents())
    with pytest.raises(InputError, match="needs kept_landmarks"):
        sidecar([parent], tmp_path / "o", recrop())
    with pytest.raises(InputError, match="no manifest"):
        sidecar([tmp_path], tmp_path / "o", grey)
    with pytest.raises(InputError, match="no engine"):
        sidecar([parent], tmp_path / "o", grey, engine="spark")
    assert not (tmp_path / "o").exists()


def test_fields_made_from_a_replaced_crop_are_hidden(tmp_path):
    arrays = {"crop": np.zeros((2, 4, 4, 3), np.uint8), "mask": np.ones((2, 4, 4), bool)}
    old = {"key": "a", "info": {}, **arrays, "latent_source": np.zeros((2, 1)),
           "speech": np.zeros((2, 1), np.float16)}  # fmt: skip
    base, new = tmp_path / "base", tmp_path / "new"
    write_manifest(base, Manifest({"crop": "a@4"}, [write_shard(base / "s.tar", [old])]))
    cut = {"key": "a", "info": {}, "crop": np.ones((2, 8, 8, 3), np.uint8)}
    file = write_shard(new / "s.tar", [cut])
    parents = (read_manifest(base).hash(),)
    write_manifest(new, Manifest({"crop": "a@8"}, [file], parents=parents, fields=("crop",)))
    (sample,) = read_samples([base, new])
    assert set(sample) == {"key", "info", "crop", "speech"}
    assert sample["crop"].shape == (2, 8, 8, 3)
    (sample,) = read_samples([base, new], ["latent_source", "mask"])
    assert set(sample) == {"key", "info"}, "made from the old crop"
    assert read_manifest([base, new]).origin["crop"] == "a@8"
    assert next(iter(field_names([base, new])))[1] == {"info", "crop", "speech"}


def test_kill_and_rerun_gives_the_undisturbed_bytes(parent, grey, tmp_path, monkeypatch):
    sidecar([parent], tmp_path / "calm", grey)
    out, calls = tmp_path / "out", tmp_path / "calls"
    code = (
        "import sys; from pathlib import Path; from preprocessing.sidecar import sidecar; "
        "from preprocessing.recipes import PreprocessRecipe as R; "
        "sidecar([Path(sys.argv[1])], Path(sys.argv[2]), "
        "R(steps='cheap_chain:more', shard_mb=0.001))"
    )
    done = killed_midway(code, parent, out, clips=4)
    monkeypatch.setenv("CHEAP_CALLS", str(calls))
    sidecar([parent], out, grey)
    assert len(calls.read_text().splitlines()) == 4 - done
    assert shards(out) == shards(tmp_path / "calm")


@pytest.mark.ray
def test_ray_gives_the_same_bytes(parent, grey, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    sidecar([parent], tmp_path / "local", grey)
    sidecar([parent], tmp_path / "ray", grey, engine="ray")
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")


def test_a_sidecar_of_a_bucket_in_a_bucket(parent, grey, tmp_path, s3):
    bucket = s3.place("set")
    manifest = read_manifest(parent)
    for shard in manifest.shards:
        (bucket / shard.name).upload(parent / shard.name)
    write_manifest(bucket, manifest)
    sidecar([bucket], s3.place("more"), grey)
    sidecar([parent], tmp_path / "more", grey)
    assert shards(s3.place("more")) == shards(tmp_path / "more")
    assert len(list(read_samples([bucket, s3.place("more")]))) == 4


# -- the real steps ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory, store, clips):
    """A real clip in two segments, at 128 px."""
    import itertools
    from fractions import Fraction

    from core.media.audio import read_sound
    from core.media.video import VideoWriter, read_frames_at

    folder = tmp_path_factory.mktemp("real")
    source, target = clips / "LipNet__bbaf2n.mpg", folder / "raw" / "s1.mp4"
    frames = [f for _, f in itertools.islice(read_frames_at(source), FRAMES)]
    target.parent.mkdir()
    width, height = frames[0].shape[1] // 2 * 2, frames[0].shape[0] // 2 * 2
    sound = read_sound(source)[: FRAMES * 640]
    with VideoWriter(target, width, height, Fraction(25), sound, 16_000) as writer:
        for frame in frames:
            writer.write(frame[:height, :width])
    base = replace(flashlips_debug(), segment_s=0.6)
    preprocess("folder", folder / "raw", folder / "base", base, store=store)
    return folder, base


def psnr(a, b) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


OTHER = CropSpec(
    "other", 128, 0.0, tuple((i, 0.8 * x + 0.1, 0.8 * y + 0.1) for i, x, y in CropSpec().points)
)
"""A wider crop, not smoothed."""


@pytest.mark.parametrize(
    ("spec", "least_psnr"),
    # Measured on this clip (128 px kept at twice the side, crf 18): 35.5, 37.4, 36.1 and 36.8 dB.
    # Both crops are JPEGs, worth about 44 dB each: that costs up to 1 dB at 37.
    [(CropSpec(), 34.5), (CropSpec(size=96), 36.0), (CropSpec(size=192), 35.0), (OTHER, 35.5)],
    ids=["same", "smaller", "larger", "other"],
)
def test_recropping_is_close_to_cropping_the_raw_file(real, store, tmp_path, spec, least_psnr):
    folder, base = real
    steps = "preprocessing.sidecars:recrop_steps"
    wanted = replace(base, crop=spec)
    again = replace(wanted, steps=steps)
    preprocess("folder", folder / "raw", tmp_path / "raw", wanted, store=store)
    sidecar([folder / "base"], tmp_path / "cut", again, store=store)
    both = list(read_samples([folder / "base", tmp_path / "cut"]))
    truths = list(read_samples(tmp_path / "raw"))
    assert [s["key"] for s in both] == [s["key"] for s in truths]
    assert read_manifest([folder / "base", tmp_path / "cut"]).origin["crop"] == spec.id
    found = []
    for one, truth in zip(both, truths, strict=True):
        assert one.keys() == truth.keys()
        assert np.abs(one["transform"] - truth["transform"]).max() < 2e-3
        assert np.abs(one["landmarks"] - truth["landmarks"]).max() < 0.02
        assert (one["mask"] != truth["mask"]).mean() < 1e-3
        assert np.abs(one["expression"] - truth["expression"]).max() < 0.01
        assert one["latent_source"].shape == truth["latent_source"].shape
        found.append(psnr(one["crop"], truth["crop"]))
        assert one["sound"] == truth["sound"]
    assert min(found) > least_psnr


def test_speech_from_kept_sound_is_close_to_that_from_the_file(real, store, tmp_path):
    folder, _ = real
    name = "whisper-tiny.en" if store.has("whisper_tiny_en") else "log-mel"
    again = replace(speech(), speech=name)
    wanted = replace(flashlips_debug(), segment_s=0.6, speech=name)
    preprocess("folder", folder / "raw", tmp_path / "raw", wanted, store=store)
    sidecar([folder / "base"], tmp_path / "heard", again, store=store)
    assert read_manifest(tmp_path / "heard").fields == ("speech",)
    truths = list(read_samples(tmp_path / "raw"))
    assert len(truths) == 2
    for one, truth in zip(read_samples(tmp_path / "heard"), truths, strict=True):
        off = np.abs(one["speech"].astype(float) - truth["speech"].astype(float))
        assert off.max() < 0.05 * np.abs(truth["speech"]).max()
