from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from core.contracts import BatchRequest, FramePair, Sequence60, Window
from core.errors import InputError
from core.sample import time_split
from core.shards import Manifest, read_manifest, read_samples, write_manifest, write_shard
from tests.training import dummy
from training import reading
from training.memory import bytes_per_frame, check_memory

PAIR = BatchRequest(FramePair(), ("speech", "opening", "crop"))
FIELDS = ("speech", "opening", "crop")


def load(shards, **changes):
    return reading.load(shards, FIELDS, **changes)


def frame_numbers(crop):
    """The dummy writes each frame's number into its pixels."""
    return crop[..., 0, 0, 0].numpy()


def test_segments_of_a_clip_are_joined_and_split_by_the_clips_time(shards):
    loaded = load(shards)
    batch = loaded.batch(PAIR, 400, seed=0, step=0)
    source = frame_numbers(batch["crop"])
    assert source.max() == 92, "120 frames: 96 to train, less the gap of 3"
    assert source.min() == 0
    assert frame_numbers(batch["crop_other"]).max() <= 92
    late = list(loaded.held_out("held_out", PAIR, samples=60, size=16))
    assert sum(len(b["speaker"]) for b in late) == 60
    for held in late:
        assert frame_numbers(held["crop"]).min() >= 96
        assert frame_numbers(held["crop_reference"]).max() <= 92


def test_batches_depend_on_seed_step_and_rank_only(shards):
    one, two = load(shards), load(shards)
    a = one.batch(PAIR, 8, seed=3, step=5, rank=1)
    two.batch(PAIR, 8, seed=3, step=4, rank=1)
    b = two.batch(PAIR, 8, seed=3, step=5, rank=1)
    assert all(torch.equal(a[k], b[k]) for k in a)
    for other in ({"seed": 4}, {"step": 6}, {"rank": 0}):
        c = one.batch(PAIR, 8, **{"seed": 3, "step": 5, "rank": 1, **other})
        assert not torch.equal(a["speech"], c["speech"])


def test_types_and_keys(shards):
    batch = load(shards).batch(PAIR, 4, seed=0, step=0)
    suffixes = ("", "_reference", "_other")
    assert set(batch) == {f + s for f in FIELDS for s in suffixes} | {"speaker"}
    assert batch["crop"].dtype == torch.uint8
    assert batch["speech"].dtype == torch.float32
    assert batch["speech"].shape == (4, dummy.DIM)
    assert batch["speaker"].dtype == torch.int64


def test_pairs_are_of_one_clip_and_apart(shards):
    request = BatchRequest(FramePair(min_gap=10), ("crop",))
    batch = load(shards).batch(request, 200, seed=0, step=0)
    apart = np.abs(
        frame_numbers(batch["crop"]).astype(int) - frame_numbers(batch["crop_reference"])
    )
    assert apart.min() > 10


def test_windows_run_on_and_stay_in_their_part(shards):
    request = BatchRequest(Sequence60(20, 5, 3), ("crop", "speech"))
    loaded = load(shards)
    batch = loaded.batch(request, 200, seed=0, step=0)
    frames = frame_numbers(batch["crop"]).astype(int)
    assert frames.shape == (200, 20)
    assert (np.diff(frames, axis=1) == 1).all()
    assert frames.max() <= 92
    assert batch["target"].all()
    references = frame_numbers(batch["crop_reference"]).astype(int)
    assert references.shape == (200, 3)
    inside = (references >= frames[:, :1]) & (references <= frames[:, -1:])
    assert not inside.any()
    for held in loaded.held_out("held_out", request, samples=12, size=12):
        frames = frame_numbers(held["crop"]).astype(int)
        assert frames[:, 5:].min() >= 96, "new frames lie in held-out time"
        assert held["target"][:, 5:].all()
        assert frame_numbers(held["crop_reference"]).max() <= 92


VIEWS = [FramePair(), FramePair(min_gap=10), Sequence60(), Sequence60(20, 5, 3), Window(),
         Window(8, 2)]  # fmt: skip


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_every_view_of_the_same_shard(shards, tmp_path, view, cached):
    """The contract of views: shapes, one clip a row, training time in batches, held-out targets."""
    request = BatchRequest(view, FIELDS)
    loaded = load(shards, cache=tmp_path if cached else None)
    batch = loaded.batch(request, 50, seed=0, step=0)
    time = () if isinstance(view, FramePair) else (view.frames,)
    shown = () if isinstance(view, FramePair) else (view.references,)
    assert batch["crop"].shape == (50, *time, 4, 4, 3)
    assert batch["speech"].shape == (50, *time, dummy.DIM)
    assert batch["opening"].shape == (50, *time)
    assert batch["opening_reference"].shape == (50, *shown)
    assert batch["speaker"].shape == (50,)
    assert batch["speech"].dtype == torch.float32
    assert frame_numbers(batch["crop"]).max() <= 92
    assert frame_numbers(batch["crop_reference"]).max() <= 92
    if time:
        frames = frame_numbers(batch["crop"]).astype(int)
        assert (np.diff(frames, axis=1) == 1).all()
        references = frame_numbers(batch["crop_reference"]).astype(int)
        assert not ((references >= frames[:, :1]) & (references <= frames[:, -1:])).any()
    for held in loaded.held_out("held_out", request, samples=6, size=6):
        late = frame_numbers(held["crop"]) >= 96
        assert (late[held["target"].numpy()] if time else late).all()
        assert frame_numbers(held["crop_reference"]).max() <= 92
    again = loaded.batch(request, 50, seed=0, step=0)
    assert all(torch.equal(batch[k], again[k]) for k in batch)
    plain = load(shards).batch(request, 50, seed=0, step=0)
    assert all(torch.equal(batch[k], plain[k]) for k in batch), "cached or not"


def test_a_frame_cache_is_filled_once_and_maps_whole_clips(shards, tmp_path, monkeypatch):
    seen = []

    def derive(sample):
        seen.append(sample["key"])
        return {"twice": 2 * sample["speech"]}

    first = load(shards, derive=derive, cache=tmp_path)
    order = [s["key"] for s in read_samples(shards)]
    assert seen == order, "objectives gather statistics: the order is that of the shards"
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.bin")}
    assert {p.stem for p in files} == set(FIELDS)
    assert list(tmp_path.iterdir()) == [tmp_path / read_manifest(shards).hash()]
    for module in ("core.shards", "core.tars"):
        monkeypatch.setattr(f"{module}.decode_field", _only_info)
    second = load(shards, derive=derive, cache=tmp_path)
    assert {p: p.stat().st_mtime_ns for p in files} == files
    request = BatchRequest(Sequence60(20, 5, 3), ("crop", "twice"))
    a, b = (x.batch(request, 8, seed=1, step=1) for x in (first, second))
    assert all(torch.equal(a[k], b[k]) for k in a)


def _only_info(name, data):
    import json

    assert name == "info", f"{name} was decoded again"
    return json.loads(data)


def test_what_a_frame_cache_refuses(shards, tmp_path):
    with pytest.raises(InputError, match="has no mask"):
        reading.load(shards, ("mask",), cache=tmp_path / "a")
    assert not list((tmp_path / "a").rglob("mask.*"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't write"):
        load(shards, cache=tmp_path / "file")
    sample = {"key": "x", "info": {"clip": "x", "speaker": "x", "first_frame": 0, "clip_frames": 9},
              "speech": np.zeros((9, 2)), "opening": np.zeros(8)}  # fmt: skip
    shard = write_shard(tmp_path / "odd" / "s.tar", [sample])
    write_manifest(tmp_path / "odd", Manifest({}, [shard]))
    with pytest.raises(InputError, match="unequal length"):
        reading.load(tmp_path / "odd", ("speech", "opening"), cache=tmp_path / "b")


def test_a_union_of_shards_trains_as_one_set(shards, tmp_path):
    extra = [
        {"key": s["key"], "info": s["info"], "pose": np.stack([s["opening"]] * 3, 1)}
        for s in read_samples(shards)
    ]
    side = tmp_path / "side"
    file = write_shard(side / "s.tar", extra)
    parents = (read_manifest(shards).hash(),)
    write_manifest(side, Manifest({}, [file], parents=parents, fields=("pose",)))
    needs = ("opening", "pose")
    assert reading.check_shards((shards, side), needs, {})["crop"] == "dummy@4"
    with pytest.raises(InputError, match="has no pose"):
        reading.check_shards(shards, needs, {})
    for cache in (None, tmp_path / "cache"):
        loaded = reading.load((shards, side), needs, cache=cache)
        batch = loaded.batch(BatchRequest(FramePair(), needs), 20, seed=0, step=0)
        assert torch.equal(batch["pose"][:, 1], batch["opening"])


def test_a_bucket_trains_like_a_folder(shards, tmp_path, nothing, s3):
    from training.job import train_here

    for file in shards.iterdir():
        (s3.place("set") / file.name).upload(file)
    request = BatchRequest(FramePair(), FIELDS)
    a, b = (load(x).batch(request, 8, seed=0, step=0) for x in (shards, s3.place("set")))
    assert all(torch.equal(a[k], b[k]) for k in a)
    there = train_here(dummy.recipe(steps=2), (s3.place("set"),), {}, tmp_path / "s3", nothing)
    here = train_here(dummy.recipe(steps=2), shards, {}, tmp_path / "here", nothing)
    assert there.data == here.data
    names = sorted(p.name for p in Path(here.uri).glob("*.safetensors"))
    assert names
    for name in names:
        assert Path(there.uri, name).read_bytes() == Path(here.uri, name).read_bytes()


def test_clips_shorter_than_the_window_mark_what_counts(tmp_path):
    loaded = load(dummy.write_clips(tmp_path, people=2, frames=30))  # 24 - 3 to train, 6 held out
    request = BatchRequest(Sequence60(40, 10, 4), ("crop",))
    batch = loaded.batch(request, 8, seed=0, step=0)
    frames = frame_numbers(batch["crop"]).astype(int)
    assert (frames[:, -21:] == np.arange(21)).all()
    assert (frames[:, :19] == 0).all(), "the first frame stands for what was before it"
    assert (batch["target"].numpy() == (np.arange(40) >= 19)).all()
    held = next(loaded.held_out("held_out", request, samples=4, size=4))
    assert (frame_numbers(held["crop"])[:, -6:] == np.arange(24, 30)).all()
    assert (held["target"].numpy() == (np.arange(40) >= 34)).all()


def test_no_window_runs_over_a_segment_that_was_dropped(tmp_path):
    whole = dummy.write_clips(tmp_path / "whole", people=1, frames=120)
    kept = [s for s in read_samples(whole) if s["info"]["first_frame"] == 60]
    early = next(s for s in read_samples(whole) if s["info"]["first_frame"] == 0)
    cut = {k: early[k][:40] for k in FIELDS}
    early = {**early, **cut}  # frames 40 to 59 are gone
    shard = write_shard(tmp_path / "cut" / "shard-000000.tar", [*kept, early])
    write_manifest(tmp_path / "cut", Manifest({}, [shard]))
    request = BatchRequest(Sequence60(20, 5, 2), ("crop",))
    batch = load(tmp_path / "cut").batch(request, 200, seed=0, step=0)
    frames = frame_numbers(batch["crop"]).astype(int)
    assert (np.diff(frames, axis=1) == 1).all()
    assert {int(f) // 60 for f in frames[:, -1]} == {0, 1}, "windows of both segments"


def test_excluded_people_are_measured_and_never_trained_on(shards):
    loaded = load(shards, exclude_speakers=("person1", "person4"))
    excluded = {loaded.speakers.index("person1"), loaded.speakers.index("person4")}
    drawn = set(loaded.batch(PAIR, 500, seed=0, step=0)["speaker"].tolist())
    assert drawn == set(range(6)) - excluded
    assert loaded.parts() == ("held_out", "other_people")
    others = next(loaded.held_out("other_people", PAIR, samples=8, size=8))
    assert set(others["speaker"].tolist()) == excluded
    with pytest.raises(InputError, match="exclude_speakers"):
        load(shards, exclude_speakers=tuple(f"person{i}" for i in range(6)))


def marked(shards, folder, change):
    """The shards again, each sample's info changed."""
    samples = list(read_samples(shards))
    for sample in samples:
        change(sample["info"])
    write_manifest(folder, Manifest({}, [write_shard(folder / "shard-000000.tar", samples)]))
    return folder


def test_test_speakers_are_never_read_and_val_speakers_only_measured(shards, tmp_path):
    names = {"person0": "id12", "person1": "id14", "person2": "mead_M016"}  # val, test, test

    def rename(info):
        info["speaker"] = names.get(info["speaker"], info["speaker"])

    named = marked(shards, tmp_path, rename)
    loaded = load(named, splits=("train",))
    assert set(loaded.speakers) == {"id12", "person3", "person4", "person5"}
    drawn = set(loaded.batch(PAIR, 300, seed=0, step=0)["speaker"].tolist())
    assert loaded.speakers.index("id12") not in drawn
    assert loaded.parts() == ("held_out", "other_people")
    assert len(load(named).speakers) == 6, "without splits everybody is trained on"
    assert set(load(named, splits=("test",)).speakers) == {"id12", "id14", "mead_M016"}
    with pytest.raises(InputError, match=r"splits holds 'dev'; use some of train, val, test"):
        dummy.recipe(splits=("dev",))
    assert dummy.recipe(splits=["train"]).splits == ("train",)


def test_stages_that_listen_pass_over_what_has_no_usable_sound(shards, tmp_path):
    def mute(info):
        if info["speaker"] in ("person0", "person1"):
            info["stage1_only"] = True

    mixed = marked(shards, tmp_path / "mixed", mute)
    assert set(load(mixed).speakers) == {f"person{i}" for i in range(2, 6)}
    assert len(reading.load(mixed, ("crop", "opening")).speakers) == 6
    all_mute = marked(shards, tmp_path / "mute", lambda info: info.update(stage1_only=True))
    with pytest.raises(InputError, match="no usable sound"):
        load(all_mute)


def test_derived_fields_are_made_once_and_others_let_go(shards):
    loaded = reading.load(
        shards, ("speech",), derive=lambda s: {"twice": 2 * s["speech"]}, keep=("twice",)
    )
    batch = loaded.batch(BatchRequest(FramePair(), ("twice",)), 4, seed=0, step=0)
    assert batch["twice"].shape == (4, dummy.DIM)
    with pytest.raises(AssertionError, match="in memory are"):
        loaded.batch(BatchRequest(FramePair(), ("speech",)), 4, seed=0, step=0)


def test_shards_are_checked_before_anything_starts(shards, nothing, tmp_path):
    from training.job import train_here

    with pytest.raises(InputError, match="has no mask"):
        train_here(dummy.recipe(stage="masked"), shards, {}, tmp_path / "o", nothing)
    with pytest.raises(InputError, match="manifest"):
        train_here(dummy.recipe(), tmp_path, {}, tmp_path / "o", nothing)
    first = train_here(dummy.recipe(steps=1), shards, {}, tmp_path / "1", nothing)
    other = dummy.write_clips(tmp_path / "s", people=1, origin={"crop": "dummy@8", "codec": "none"})
    with pytest.raises(InputError, match=r"crop dummy@8 but first .* trained with dummy@4"):
        train_here(dummy.recipe(stage="second"), other, {"first": first}, tmp_path / "2", nothing)
    assert not (tmp_path / "2").exists()


def test_webdataset_reads_our_tars(shards):
    import webdataset

    path = next(shards.glob("*.tar"))
    read = webdataset.WebDataset(str(path), shardshuffle=False).decode()
    theirs = {s["__key__"]: s for s in read}
    for ours in read_samples(shards):
        same = theirs[ours["key"]]
        assert same["info.json"] == ours["info"]
        assert np.array_equal(same["speech.npy"], ours["speech"])


def test_the_split_of_a_segment_is_the_clips():
    train, held = time_split({"first_frame": 50, "clip_frames": 100}, 50)
    assert (train[-1], held[0]) == (26, 30)


def test_data_that_does_not_fit_into_memory_is_refused_with_the_way_out(shards):
    (first, *_) = read_samples(shards, ("speech", "opening"))
    assert bytes_per_frame(first, ("speech", "opening")) == 6 * 2 + 4
    check_memory(shards, ("speech", "opening"), 1, free=1)  # nothing is known of its frames
    manifest = read_manifest(shards)
    counted = dataclasses.replace(manifest, counts={"frames": 10**9})
    write_manifest(shards, counted)
    try:
        check_memory(shards, ("speech", "opening"), 1, free=10**12)
        with pytest.raises(InputError, match=r"41\.6 GB for 2 worker.* FLASHLIPS_FRAME_CACHE"):
            check_memory(shards, ("speech", "opening"), 2, free=10**10)
    finally:
        write_manifest(shards, manifest)
