from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from core.contracts import BatchRequest, FramePair
from core.errors import InputError
from training.patches import augment, cut, groups, load_frames, packaged_photos
from training.picture_data import PictureData
from training.recipes.codec import slim, slim_debug

REQUEST = BatchRequest(FramePair(), ("patch", "latent"))


def derive(sample):
    return {"latent": sample["patch"].mean((1, 2, 3), dtype=np.float32)}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        picture = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (160, 120))
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    return tmp_path


def test_batches_depend_on_seed_and_step_alone(folder):
    first = PictureData(groups([folder], photos=False), derive, size=32)
    again = PictureData(groups([folder], photos=False), derive, size=32)
    run = [first.batch(REQUEST, 6, seed=3, step=s) for s in range(5)]
    late = again.batch(REQUEST, 6, seed=3, step=4)  # as after a restart
    assert np.array_equal(run[4]["patch"], late["patch"])
    assert not np.array_equal(run[4]["patch"], run[3]["patch"])
    assert run[0]["patch"].shape == (6, 32, 32, 3)
    assert np.allclose(late["latent"], late["patch"].numpy().mean((1, 2, 3)), atol=1e-3)
    assert first.hash() == again.hash()


def test_patches_are_replayed(folder):
    calls = []

    def counting(sample):
        calls.append(len(sample["patch"]))
        return derive(sample)

    data = PictureData(groups([folder], photos=False), counting, size=32, replay=3)
    data.batch(REQUEST, 6, 0, 0)
    filled = sum(calls)
    for step in range(1, 7):
        data.batch(REQUEST, 6, 0, step)
    assert sum(calls) - filled == 6 * 2


def test_no_sources_and_broken_ones_are_named(tmp_path):
    with pytest.raises(InputError, match="no picture"):
        groups([tmp_path], photos=False)
    with pytest.raises(InputError, match="nowhere"):
        groups([tmp_path / "nowhere"])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for name in ("bad.png", "bad.mp4"):
        with pytest.raises(InputError, match=name):
            load_frames(tmp_path / name)


def test_cut_and_augment_keep_shape_and_kind():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 255, (90, 300, 3), dtype=np.uint8)
    for _ in range(40):
        patch = augment(cut(frame, 64, rng), rng)
        assert patch.shape == (64, 64, 3)
        assert patch.dtype == np.uint8


def test_packaged_photos_are_pictures():
    for path in packaged_photos():
        assert load_frames(path)[0].shape[2] == 3


def test_debug_recipe_trains_resumes_and_is_finished(shared, folder, tmp_path):
    from core.weights import Store
    from models.experts.codec import load_slim
    from training.picture_job import train_on_pictures

    store = Store((tmp_path / "weights", shared / "weights"))
    if not store.has("taef2_encoder"):
        pytest.skip("TAEF2 is not in shared/weights")
    recipe = replace(slim_debug(), steps=2)
    out = tmp_path / "codec"
    told = []
    card = train_on_pictures(
        recipe, [folder], [], out, store, progress=lambda *news: told.append(news[1])
    )
    assert card.step == 2
    assert told[-1] == 2
    assert load_slim(out).sizes == {"stem": 64, "half_blocks": 1}
    before = card.weights.stat().st_mtime_ns
    train_on_pictures(recipe, [folder], [], out, store)
    assert card.weights.stat().st_mtime_ns == before


def test_recipes_name_the_objectives_terms():
    from models.experts.codec_training import SYSTEM, CodecDistillation

    assert slim().loss_weights.keys() == CodecDistillation.terms
    assert slim().stage in SYSTEM.stages
    assert SimpleNamespace(**slim().net).stem == 64
