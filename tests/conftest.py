"""Fixtures: real clips and weights when they are there; a skip that names what is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("FLASHLIPS_SHARED", REPO.parent / "shared"))


def pytest_configure() -> None:
    # What a shell starts in the background ignores Ctrl-C, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no folder of shared material at {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def clips(shared: Path) -> Path:
    if not (shared / "clips").is_dir():
        pytest.skip("no real clips at shared/clips beside the checkout")
    return shared / "clips"


@pytest.fixture(scope="session")
def store():
    from core.weights import Store

    folders = [REPO / "weights"]
    if (SHARED / "weights").is_dir():
        folders.append(SHARED / "weights")
    found = Store(tuple(folders))
    if not found.has("face_landmark"):
        pytest.skip("face_landmark is not in weights/: run 'flashlips weights fetch'")
    return found


@pytest.fixture(scope="session")
def origin():
    from core.weights import Store
    from models.experts.codec import load_codec

    codec = load_codec("slim", Store(()))
    return {"codec": codec.id, "crop": "flashlips@128", "speech": "whisper-tiny.en+log-mel"}


@pytest.fixture(scope="session")
def shards(toy_shards):
    """The toy people, unless a folder of tests has data of its own."""
    return toy_shards


@pytest.fixture(scope="session")
def toy_shards(tmp_path_factory, origin):
    """Three toy people, preprocessed by hand."""
    import numpy as np
    import torch

    from core.shards import Manifest, write_manifest, write_shard
    from core.weights import Store
    from models.experts.codec import load_codec
    from tests.toy import person

    folder = tmp_path_factory.mktemp("shards")
    codec = load_codec("slim", Store(()))
    samples = []
    for i, name in enumerate(("anna", "ben", "carl")):
        sample = person(name, i)
        x = torch.from_numpy(sample["crop"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        hidden = x.masked_fill(torch.from_numpy(sample["mask"])[:, None], 0.0)
        with torch.inference_mode():
            for field, images in (("latent_source", x), ("latent_masked", hidden)):
                sample[field] = codec.encode(images).numpy().astype(np.float16)
        samples.append(sample)
    file = write_shard(folder / "shard-00000.tar", samples)
    write_manifest(folder, Manifest(origin, [file], {"ok": 3}))
    return folder


@pytest.fixture(scope="session")
def system(tmp_path_factory, shards):
    """All four stages, trained for a few seconds each."""
    from dataclasses import replace

    from core.weights import Store
    from flows.work import needed
    from training.job import train_here
    from training.recipes.flashlips import NANO, NANO_NET

    small = {"channels": [32, 48, 64], "blocks": 1, "mid": 1, "groups": 16}
    net = {
        **NANO_NET,
        "editor": {**NANO_NET["editor"], "unet": small},
        "pixel_fraction": 0.125,
    }

    folder, made = tmp_path_factory.mktemp("system"), {}
    steps = {"reconstruction": 120, "distillation": 40, "lips_change": 12, "audio_to_lips": 60}
    for make in NANO:
        recipe = replace(
            make(),
            net=net,
            steps=steps[make().stage],
            batch=8,
            held_out_samples=16,
            warmup=5,
            ema=0.9,
        )
        made[recipe.stage] = train_here(
            recipe, shards, needed(recipe, made), folder / recipe.stage, Store(())
        )
    return folder


@pytest.fixture
def s3(tmp_path_factory, monkeypatch):
    """A running S3 server."""
    from core import storage
    from tests.s3 import serving

    storage._filesystem.cache_clear()  # it has read the credentials of the test before
    with serving(tmp_path_factory.mktemp("s3"), monkeypatch) as server:
        yield server
