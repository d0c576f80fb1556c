from __future__ import annotations

import json
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

import models.system
from core.checkpoint import CARD, WEIGHTS, CheckpointRef, write_card
from core.errors import InputError
from core.sample import SCHEMA_VERSION
from core.testing import DummyPredictor
from core.weights import Store
from inference.load import load
from inference.report import GENERIC
from models.system import System

NO_WEIGHTS = Store(())


@pytest.fixture(autouse=True)
def dummy_system(monkeypatch):
    """A system "dummy" with the stages a and b, loaded through the registry like any other."""
    module = types.ModuleType("dummy_system")
    module.SYSTEM = System("dummy", {"a": None, "b": None}, lambda folder, store: DummyPredictor())
    monkeypatch.setitem(__import__("sys").modules, "dummy_system", module)
    monkeypatch.setitem(models.system.SYSTEMS, "dummy", "dummy_system:SYSTEM")


def checkpoint(folder, stage="a", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": np.zeros(2, np.float32)}, folder / WEIGHTS)
    values = {
        "uri": str(folder), "system": "dummy", "stage": stage, "step": 5, "recipe": {},
        "recipe_sha": "x", "net": {}, "crop": "flashlips@128", "codec": "slim@1",
        "schema_version": SCHEMA_VERSION,
    }  # fmt: skip
    write_card(CheckpointRef(**{**values, **changes}))
    return folder


def edit_card(folder, **changes):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **changes}))


def test_one_stage(tmp_path):
    loaded = load(checkpoint(tmp_path / "a"), NO_WEIGHTS)
    assert loaded.card.stage == "a"
    assert not loaded.generic
    session = loaded.prepare(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(10, np.float32), 3)
    assert session.seed == 3
    assert loaded.spec is session.spec


def test_a_folder_of_stages_gives_the_final_ones_card(tmp_path):
    checkpoint(tmp_path / "run" / "z_first", "a")
    checkpoint(tmp_path / "run" / "b", "b")
    assert load(tmp_path / "run", NO_WEIGHTS).card.stage == "b"


def test_the_shipped_one_is_the_default_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.load.SHIPPED", checkpoint(tmp_path / "nano"))
    assert load(store=NO_WEIGHTS).generic
    assert load(tmp_path / "nano", NO_WEIGHTS).generic
    assert "synthetic people only" in GENERIC
    assert "personalise" in GENERIC


def no_safetensors(folder):
    (folder / WEIGHTS).write_bytes(b"these are no tensors" * 10)


def cut_weights(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


BAD = [
    (lambda f: edit_card(f, version=99), "checkpoint version 99"),
    (lambda f: edit_card(f, schema_version=99), "schema version 99"),
    (lambda f: edit_card(f, system="nobody"), "nobody"),
    (lambda f: edit_card(f, crop="other@64"), "other@64"),
    (lambda f: edit_card(f, extra=1), "extra"),
    (lambda f: (f / CARD).write_text("{"), CARD),
    (lambda f: (f / CARD).write_text("[]"), CARD),
    (lambda f: (f / CARD).unlink(), CARD),
    (lambda f: (f / WEIGHTS).unlink(), WEIGHTS),
    (no_safetensors, WEIGHTS),
    (cut_weights, WEIGHTS),
    (lambda f: (f / WEIGHTS).write_bytes(b""), WEIGHTS),
]


@pytest.mark.parametrize(("spoil", "named"), BAD)
def test_bad_checkpoints_are_one_sentence(spoil, named, tmp_path):
    folder = checkpoint(tmp_path / "a")
    spoil(folder)
    with pytest.raises(InputError) as caught:
        load(folder, NO_WEIGHTS)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_checkpoint_folder(tmp_path):
    folder = checkpoint(tmp_path / "a")
    for path, said in (
        (tmp_path / "none", "no checkpoint folder"),
        (folder / WEIGHTS, "is a file"),
    ):
        with pytest.raises(InputError, match=said):
            load(path, NO_WEIGHTS)


def test_stages_of_two_systems_do_not_mix(tmp_path):
    checkpoint(tmp_path / "run" / "a")
    edit_card(checkpoint(tmp_path / "run" / "b", "b"), system="flashlips")
    with pytest.raises(InputError, match="mixes"):
        load(tmp_path / "run", NO_WEIGHTS)


def test_the_shipped_checkpoint_loads(store):
    """As it lies in the repository: its cards, its codec, its speech encoder."""
    predictor = load(None, store)
    assert predictor.spec.crop.id == "flashlips@128"
    session = predictor.prepare(
        np.full((4, 128, 128, 3), 128, np.uint8), np.zeros(16_000, np.float32)
    )
    frames = np.full((2, 128, 128, 3), 128, np.uint8)
    assert session.edit(frames, np.array([0.0, 0.5])).shape == frames.shape
