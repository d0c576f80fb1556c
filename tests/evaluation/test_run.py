"""Shards and renderers to a report, with a stand-in mesh."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import InputError
from core.sample import time_split
from core.shards import Manifest, write_manifest, write_shard
from evaluation.benchmarks.held_out import Benchmark, case_of
from evaluation.clip_data import join, read_clips
from evaluation.observer import Observer
from evaluation.run import Options, evaluate_shards, measure
from tests.evaluation.scenes import clip, dark_mesh, sample


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    samples = [
        *(sample(first, 50, 100, "anna") for first in (0, 50)),
        sample(0, 100, 100, "bert", seed=1),
        sample(0, 3, 3, "tiny"),
    ]
    file = write_shard(folder / "shard-00000.tar", samples)
    write_manifest(folder, Manifest({}, [file]))
    return folder


RENDERERS = {
    "ours": lambda clip: np.roll(clip.truth, 1, axis=0),
    "codec": lambda clip: clip.truth,
}


def test_segments_become_one_clip_with_its_own_split(shards):
    anna, bert = read_clips(shards, Observer(dark_mesh))
    assert anna["crop"].shape[0] == 100
    late = sample(0, 100, 100, "bert", seed=1)
    train, held = time_split(late["info"], 100)
    for one in (anna, bert):
        np.testing.assert_array_equal(one.train, train)
        np.testing.assert_array_equal(one.held_out, held)
        assert one.reference in one.train
    assert anna.name == "anna"


def test_segments_join_in_any_order():
    parts = [sample(first, 25, 100) for first in (75, 0, 50, 25)]
    found, whole = join(parts), join([sample(0, 100, 100)])
    np.testing.assert_array_equal(found["crop"], whole["crop"])
    np.testing.assert_array_equal(found.held_out, whole.held_out)


def test_a_report_of_everything(shards, tmp_path):
    told = []
    measured = evaluate_shards(
        shards,
        RENDERERS,
        tmp_path,
        Observer(dark_mesh),
        notes={"codec": "slim@1", "fps": {"editor": 50.0}, "gflop_per_frame": 5.0},
        options=Options(draws=20, shown=1),
        progress=lambda *what: told.append(what[:2]),
    )
    found = json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert told == [("anna", 1), ("bert", 2)]
    assert measured.clips == ("anna", "bert")
    systems = ("ours", "codec", "copy_reference", "mean_mouth", "nearest_frame", "ridge")
    assert measured.systems == systems
    for name in ("anna", "bert", "all"):
        for system in systems:
            for number in ("psnr", "ssim", "lmd", "opening_r", "opening_slope", "sharpness"):
                assert f"{name}.{system}.{number}" in found
    assert found["anna.codec.lmd"] == 0
    assert found["anna.codec.opening_r"] == pytest.approx(1)
    assert found["anna.codec.psnr"] == 100
    assert found["benchmark"] == "held_out@1"
    assert found["codec"] == "slim@1"
    assert measured.across("ours", "psnr").keys() == {"anna", "bert"}


def test_selection_and_limits(shards):
    options = Options(select=lambda info: info["speaker"] == "bert", seconds=0.4, draws=5, shown=1)
    found = measure(shards, RENDERERS, Observer(dark_mesh), options)
    assert found.clips == ("bert",)
    assert len(found.shown[0].truth) == 10
    with pytest.raises(InputError, match="no clip"):
        measure(shards, RENDERERS, Observer(dark_mesh), Options(select=lambda info: False))


def test_wrong_renders_and_names_are_refused():
    one = clip()
    with pytest.raises(InputError, match="rendered"):
        case_of(one, "ours", one.truth[:-1])
    with pytest.raises(InputError, match="baseline"):
        list(Benchmark().cases(one, {"ridge": lambda c: c.truth}))


def test_other_lips_are_asked_for_by_their_own_opening():
    one = clip()
    asked = one.truth_opening[::-1]
    found = case_of(one, "mask_free", one.truth, asked)
    np.testing.assert_array_equal(found.asked, asked)
    assert found.kind == "cross"
