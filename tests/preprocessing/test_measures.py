"""A real clip through every measuring step at once, on both engines; the plain recipe beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import save_file

from core.errors import InputError
from core.media.parsing import CLASSES
from core.shards import read_manifest, read_samples
from core.weights import Store
from models.experts.syncnet import SyncNet
from preprocessing.recipes import flashlips, flashlips_debug, flashlips_paper
from preprocessing.run import preprocess
from tests.models import crc_weights, tiny


@pytest.fixture(scope="module")
def all_weights(tmp_path_factory, store):
    folder = tmp_path_factory.mktemp("weights")
    tiny.wav2vec2(folder / "tiny")
    tiny.emotion(folder / "voice")
    tiny.segformer(folder / "parser", CLASSES)
    save_file(crc_weights.filled(SyncNet()).state_dict(), folder / "syncnet_v2.safetensors")
    return Store((folder, *store.folders))


@pytest.fixture(scope="module")
def recipe(all_weights):
    """All of the paper's steps, small. What untrained nets say is noted, never obeyed."""
    return replace(
        flashlips_paper(),
        crop=flashlips_debug().crop,
        min_face=48.0,
        parsing_weights=str(all_weights.folders[0] / "parser"),
        lips_from="landmarks",
        speech="wav2vec2:tiny#1,2+log-mel",
        emotion="voice",
        sync_confidence=0.0,
        sync_most=15,
        quality="niqe",
        jitter=2,
        latents="uint8",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("measures")


def test_a_real_clip_gets_every_measure(made, recipe, all_weights, clips, cut):
    (made / "raw").mkdir()
    cut(clips / "LipNet__bbaf2n.mpg", made / "raw" / "s1.mp4")
    preprocess("folder", made / "raw", made / "local", recipe, store=all_weights)
    origin = read_manifest(made / "local").origin
    assert origin["sync"] == "syncnet_v2"
    assert origin["quality"].startswith("niqe-fitted@")
    assert origin["speech"].startswith("wav2vec2:tiny@")
    assert origin["speech"].endswith("#1,2+log-mel")
    assert origin["emotion"].startswith("voice@")
    assert origin["parsing"].startswith("segformer@")
    assert origin["latents"] == "uint8"
    (sample,) = read_samples(made / "local")
    count = len(sample["crop"])
    assert sample["latent_source"].dtype == sample["latent_masked_variants"].dtype == np.uint8
    assert sample["latent_source_variants"].shape == (count, 3, 32, 16, 16)
    assert sample["variants"].shape == (count, 3, 5)
    assert sample["speech"].shape == (count, 32 + 320)
    assert sample["emotion"].shape == (7,)
    assert sample["parsing"].shape == (count, 128, 128)
    facts = sample["info"]["facts"]
    assert {"sync_offset", "sync_confidence", "quality", "emotion"} <= facts.keys()


@pytest.mark.ray
def test_both_engines_give_the_same_bytes(made, recipe, all_weights, clips):
    assert (made / "local").is_dir(), "the test above made it"
    preprocess("folder", made / "raw", made / "ray", recipe, "ray", all_weights)
    local, ray = (read_manifest(made / name).shards for name in ("local", "ray"))
    assert [(s.name, s.sha256) for s in local] == [(s.name, s.sha256) for s in ray]


def test_the_plain_recipe_has_none_of_it():
    names = {placed.step.name for placed in flashlips().chain(Store(()))}
    assert not names & {"sync", "quality", "emotion"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"latents": "int4"}, "float16 or uint8"), ({"jitter": -1}, "wanted are a count"),
     ({"jitter_strength": (1.0,)}, "four strengths")],
)  # fmt: skip
def test_wrong_numbers_are_sentences(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(flashlips(), **change)
