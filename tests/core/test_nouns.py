"""Clip, sample, shards, checkpoint, recipe, files: the nouns everything else is made of."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import webdataset

from core import recipe as recipes
from core.checkpoint import CheckpointRef, read_card, write_card
from core.clip import Clip, content_hash, content_id
from core.errors import InputError
from core.files import atomic, read_json, write_json
from core.sample import SCHEMA, decode_field, encode_field, time_split
from core.shards import (
    Manifest,
    read_manifest,
    read_samples,
    read_shard,
    write_manifest,
    write_shard,
)
from core.testing import talking_frame


def sample(key="a", frames=4):
    rng = np.random.default_rng(len(key))
    return {
        "key": key,
        "info": {"speaker": "x", "first_frame": 0, "clip_frames": frames},
        "crop": rng.integers(0, 255, (frames, 8, 8, 3), dtype=np.uint8),
        "mask": rng.random((frames, 8, 8)) > 0.5,
        "pose": rng.normal(size=(frames, 3)).astype(np.float32),
        "sound": b"flac bytes",
    }


def test_clips_are_values():
    clip = Clip("1", "a.mp4").having(frames=[1]).noting(fps=25.0)
    dropped = clip.rejected("size", "too small", 10, 20)
    assert clip.drop is None
    assert dropped.drop.kind == "rejected"
    assert dropped.fields == {}
    assert dropped.facts == {"fps": 25.0}
    assert clip.failed("read", OSError("gone")).drop.reason == "OSError: gone"


def test_ids_come_from_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    (tmp_path / "c").write_bytes(b"other")
    a, b, c = (content_hash(tmp_path / n) for n in "abc")
    assert a == b != c
    assert content_id(a, (0, 1)) == content_id(b, (0, 1.0)) != content_id(a, (0, 2))
    assert content_id(a) != content_id(c)


def test_fields_round_trip():
    for name, value in sample().items():
        if name not in ("key", "crop"):
            back = decode_field(name, encode_field(name, value))
            assert np.array_equal(back, value) if name != "info" else back == value
    assert len(encode_field("mask", np.ones((100, 128, 128), bool))) < 100 * 128 * 128 / 7


def test_time_split_holds_out_the_clips_end_whatever_the_segment():
    whole_train, whole_held = time_split({"first_frame": 0, "clip_frames": 100}, 100)
    assert whole_train[-1] == 76
    assert whole_held[0] == 80
    assert len(whole_held) == 20
    first, none = time_split({"first_frame": 0, "clip_frames": 100}, 50)
    assert len(first) == 50
    assert len(none) == 0
    late, held = time_split({"first_frame": 50, "clip_frames": 100}, 50)
    assert late[-1] + 50 == 76
    assert held[0] + 50 == 80


def test_shards_repeat_byte_for_byte_and_webdataset_reads_them(tmp_path):
    one = write_shard(tmp_path / "0.tar", [sample("a"), sample("bb")])
    two = write_shard(tmp_path / "1.tar", [sample("a"), sample("bb")])
    assert one.sha256 == two.sha256
    write_manifest(tmp_path, Manifest({"codec": "c@1"}, [one], {"ok": 2}))
    back = list(read_samples(tmp_path))
    assert [s["key"] for s in back] == ["a", "bb"]
    assert np.array_equal(back[1]["mask"], sample("bb")["mask"])
    assert set(next(read_samples(tmp_path, ["pose"]))) == {"key", "info", "pose"}
    theirs = list(webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False))
    assert [s["__key__"] for s in theirs] == ["a", "bb"]
    assert theirs[0]["sound.flac"] == b"flac bytes"


def test_crops_are_jpegs_that_repacking_leaves_alone(tmp_path):
    crop = np.stack([talking_frame(i, 64, 48)[0] for i in range(3)])
    write_shard(tmp_path / "0.tar", [{**sample("a"), "crop": crop}])
    (raw,) = read_shard(tmp_path / "0.tar", raw=True)
    assert len(raw["crop"]) < crop.nbytes / 3
    write_shard(tmp_path / "1.tar", [raw])
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()
    (back,) = read_shard(tmp_path / "1.tar")
    assert back["crop"].shape == crop.shape
    error = (back["crop"].astype(float) - crop) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 38


def test_unfinished_foreign_and_damaged_shards_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no manifest"):
        read_manifest(tmp_path)
    file = write_shard(tmp_path / "0.tar", [sample()])
    write_manifest(tmp_path, Manifest({}, [file]))
    raw = read_json(tmp_path / "manifest.json")
    write_json(tmp_path / "manifest.json", {**raw, "schema_version": 99})
    with pytest.raises(InputError, match="schema version 99"):
        read_manifest(tmp_path)
    write_json(tmp_path / "manifest.json", raw)
    (tmp_path / "0.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:700])
    with pytest.raises(InputError, match=r"can't read shard"):
        list(read_samples(tmp_path))


def test_every_schema_field_says_what_it_is():
    for name, field in SCHEMA.items():
        assert field.codec in ("json", "npy", "jpegs", "mask", "labels", "mp4", "flac"), name
        assert field.shape
        assert field.meaning


def card(folder):
    return CheckpointRef(
        uri=str(folder), system="flashlips", stage="reconstruction", step=3, recipe={"a": 1},
        recipe_sha="s", net={}, crop="flashlips@128", codec="slim@1", schema_version=1,
        notes=("one",),
    )  # fmt: skip


def test_cards_round_trip_and_refuse_strangers(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"")
    write_card(card(tmp_path))
    assert read_card(tmp_path) == card(tmp_path)
    raw = json.loads((tmp_path / "card.json").read_text())
    assert "uri" not in raw
    for broken, match in (({**raw, "version": 7}, "version 7"), ({**raw, "odd": 1}, "odd")):
        write_json(tmp_path / "card.json", broken)
        with pytest.raises(InputError, match=match):
            read_card(tmp_path)
    with pytest.raises(InputError, match="no checkpoint"):
        read_card(tmp_path / "nowhere")


@dataclasses.dataclass(frozen=True)
class Recipe:
    steps: int = 10
    lr: float = 1.0
    name: str = "x"
    sizes: tuple[int, ...] = (1, 2)
    net: dict = dataclasses.field(default_factory=lambda: {"width": 3, "deep": {"a": 1}})


def recipe():
    return Recipe()


@dataclasses.dataclass(frozen=True)
class Grown(Recipe):
    flip: bool = recipes.later(False)


def test_a_later_field_at_its_default_changes_no_identity():
    assert recipes.sha(Grown()) == recipes.sha(Recipe())
    assert recipes.sha(Grown(flip=True)) != recipes.sha(Recipe())
    assert recipes.to_json(Grown())["flip"] is False
    assert recipes.override(Grown(), ["flip=True"]).flip is True


def test_overrides_reach_nested_keys_and_refuse_unknown_ones():
    new = recipes.override(Recipe(), ["steps=5", "lr=2", "name=7", "sizes=(3,)", "net.deep.a=9"])
    assert new == Recipe(5, 2.0, "7", (3,), {"width": 3, "deep": {"a": 9}})
    assert recipes.sha(new) != recipes.sha(Recipe())
    assert recipes.sha(Recipe()) == recipes.sha(Recipe())
    for bad, match in (
        ("stps=5", "valid keys here: steps, lr"),
        ("steps=many", "wants int"),
        ("net=3", "is a group"),
        ("steps.x=3", "has no keys"),
        ("steps", "key=value"),
    ):
        with pytest.raises(InputError, match=match):
            recipes.override(Recipe(), [bad])


def test_loading_a_recipe_by_name():
    assert recipes.load(f"{__name__}:recipe") == Recipe()
    for bad, match in (
        ("nonsense", "package.module:function"),
        ("no.such.module:f", "no module"),
        ("training.recipes.flashlips:nano", "it has .*nano_reconstruction"),
    ):
        with pytest.raises(InputError, match=match):
            recipes.load(bad)


def test_writes_are_whole_or_absent(tmp_path):
    target = tmp_path / "deep" / "x.json"
    with pytest.raises(ZeroDivisionError), atomic(target) as part:
        part.write_text(str(1 / 0))
    assert list(target.parent.iterdir()) == []
    write_json(target, {"a": 1})
    assert read_json(target) == {"a": 1}
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose a folder"), atomic(tmp_path / "file" / "x"):
        pass
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")
