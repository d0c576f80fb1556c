from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core import recipe as recipes
from core.errors import InputError
from core.shards import read_manifest, read_samples
from core.weights import Store
from preprocessing import plan
from preprocessing.recipes import (
    Filters,
    flashlips,
    flashlips_debug,
    flashlips_paper,
    latentsync,
)
from preprocessing.run import preprocess

NANO = "probe segment read track window crop masks expression viseme latents speech"
PAPER = (
    "probe scenes segment read track window one_face length pose_limits sharpness sync crop "
    "quality parsing masks identity expression viseme latents speech emotion"
)


def names(recipe):
    chain = recipe.chain(Store(()))
    plan.check(chain)
    return " ".join(placed.step.name for placed in chain)


def test_nano_has_no_step_more_and_the_paper_has_them_in_order():
    assert names(flashlips()) == NANO
    assert names(flashlips_paper()) == PAPER
    assert names(latentsync()) == NANO.replace("probe", "probe scenes")


def test_fields_are_set_from_the_command_line():
    settings = ["faces=insightface", "reader=decord", "filters.yaw=40", "parsing=landmarks"]
    recipe = recipes.override(flashlips(), settings)
    assert names(recipe) == "probe segment read track window pose_limits crop parsing masks " + (
        "expression viseme latents speech"
    )
    with pytest.raises(InputError, match="faces='retina': must be mesh or insightface"):
        recipes.override(flashlips(), ["faces=retina"])
    with pytest.raises(InputError, match="needs parsing"):
        names(replace(flashlips(), lips_from="parsing"))


def test_a_missing_backend_ends_the_run_before_a_clip_is_read(tmp_path, video):
    video(tmp_path / "raw" / "v.mp4")
    recipe = replace(flashlips_debug(), faces="insightface")
    with pytest.raises(InputError, match="scrfd_10g"):
        preprocess("folder", tmp_path / "raw", tmp_path / "out", recipe, store=Store((tmp_path,)))
    assert not (tmp_path / "out" / "ledger.parquet").exists()


def test_every_step_that_needs_no_hub_on_a_real_clip(tmp_path, clips, store, cut):
    (tmp_path / "raw").mkdir()
    cut(clips / "LipNet__bbaf2n.mpg", tmp_path / "raw" / "s1.mp4")
    recipe = replace(
        flashlips_paper(),
        crop=replace(latentsync().crop, size=128),
        filters=replace(flashlips_paper().filters, sharpness=0.01),
        min_face=48.0,
        parsing="landmarks",
        speech="log-mel",
        reader="decord",
    )
    preprocess("folder", tmp_path / "raw", tmp_path / "out", recipe, store=store)
    origin = read_manifest(tmp_path / "out").origin
    assert (origin["crop"], origin["mask"]) == ("latentsync@128", "fixed@1")
    assert (origin["parsing"], origin["lips_mask"]) == ("landmarks@1", "parsing")
    (sample,) = read_samples(tmp_path / "out")
    assert sample["parsing"].shape == (26, 128, 128)
    assert sample["mask_latent"].shape == (26, 16, 16)
    assert (sample["mask"] == sample["mask"][0]).all()
    assert sample["lips_mask"].sum() > 0
    if store.has("mobilefacenet"):
        assert sample["identity"].shape == (128,)
    facts = sample["info"]["facts"]
    assert {"shots", "yaw_wide", "sharpness", "lips_area", "faces"} <= facts.keys()
    # The brows lie where LatentSync's template has them.
    for group, x, y in recipe.crop.points[:2]:
        place = (sample["landmarks"][:, list(group), :2].mean((0, 1)) + 0.5) / 128
        assert np.allclose(place, (x, y), atol=0.03)


def test_filters_let_everything_pass_unless_told():
    assert Filters() == flashlips().filters
