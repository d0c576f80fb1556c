"""Checkpoints that outlive the machine: in a bucket behind a real server that is also killed."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import pytest

from core.errors import InputError
from core.files import read_json
from core.storage import Remote
from tests.training import dummy
from tests.training.test_loop import Killed, equal, killed_at, told_always, weights
from training import keeping
from training.job import train_here
from training.keeping import LIST

__all__ = ["told_always"]


def bucket(s3, prefix: str = "kept") -> Path:
    return s3.folder / "data" / "bucket" / prefix


@pytest.fixture
def slow(monkeypatch):
    """Every state arrives before the next is written, so that tests know which ones are there."""
    from training.keeping import Keeper

    state = Keeper.state

    def waiting(self, folder):
        state(self, folder)
        self.wait()

    monkeypatch.setattr(Keeper, "state", waiting)


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory):
    """Weights of a run that nothing disturbed."""
    from core.weights import Store

    out = tmp_path_factory.mktemp("whole")
    train_here(dummy.recipe(save_every_s=0.0), shards, {}, out, Store(()))
    return weights(out)


def cut(shards, nothing, out, keep, step=6):
    with pytest.raises(Killed):
        train_here(
            dummy.recipe(save_every_s=0.0), shards, {}, out, nothing, None, killed_at(step), keep
        )


def finish(shards, nothing, out, keep):
    return train_here(dummy.recipe(save_every_s=0.0), shards, {}, out, nothing, keep=keep)


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_a_lost_node_is_gone_on_from_elsewhere(
    kind, shards, nothing, tmp_path, s3, told_always, slow, whole, caplog
):
    keep = s3.place("kept") if kind == "bucket" else tmp_path / "kept"
    there = bucket(s3) if kind == "bucket" else tmp_path / "kept"
    cut(shards, nothing, tmp_path / "lost", keep)
    assert sorted(p.name for p in (there / "state").iterdir()) == [
        "step_000000004",
        "step_000000005",
    ]
    shutil.rmtree(tmp_path / "lost")
    with caplog.at_level(logging.INFO, "training"):
        ref = finish(shards, nothing, tmp_path / "other", keep)
    assert "goes on from step 5" in caplog.text
    assert equal(whole, weights(tmp_path / "other"))
    assert not list((there / "state").glob("*/*.safetensors")), "states go when it is finished"

    # Lost again, finished: it comes back and nothing is trained.
    card = (tmp_path / "other" / "card.json").read_bytes()
    shutil.rmtree(tmp_path / "other")
    again = finish(shards, nothing, tmp_path / "third", keep)
    assert again.step == ref.step
    assert (tmp_path / "third" / "card.json").read_bytes() == card
    assert equal(whole, weights(tmp_path / "third"))


def test_a_newer_state_here_is_not_replaced_and_an_older_one_is(
    shards, nothing, tmp_path, told_always, slow, whole, caplog
):
    keep = tmp_path / "kept"
    cut(shards, nothing, tmp_path / "a", keep, 4)
    shutil.copytree(tmp_path / "a", tmp_path / "old")
    cut(shards, nothing, tmp_path / "a", keep, 7)
    with caplog.at_level(logging.INFO, "training"):
        cut(shards, nothing, tmp_path / "old", keep, 8)
    assert "step_000000006 comes from " in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "training"):
        finish(shards, nothing, tmp_path / "old", keep)
    assert "comes from" not in caplog.text
    assert equal(whole, weights(tmp_path / "old"))


def test_half_a_copy_and_a_damaged_one_are_not_taken(
    shards, nothing, tmp_path, told_always, slow, whole, caplog
):
    keep = tmp_path / "kept"
    cut(shards, nothing, tmp_path / "lost", keep, 8)
    newest, before = sorted((keep / "state").iterdir(), reverse=True)
    raw = bytearray((newest / "weights.safetensors").read_bytes())
    raw[-3] ^= 0xFF
    (newest / "weights.safetensors").write_bytes(raw)
    half = keep / "state" / "step_000000099"
    shutil.copytree(before, half)
    (half / LIST).unlink()
    with caplog.at_level(logging.INFO, "training"):
        finish(shards, nothing, tmp_path / "other", keep)
    assert "is damaged" in caplog.text
    assert "goes on from step 6" in caplog.text
    assert equal(whole, weights(tmp_path / "other"))


def test_another_runs_place_is_refused(shards, nothing, tmp_path):
    finish(shards, nothing, tmp_path / "a", tmp_path / "kept")
    with pytest.raises(InputError, match="another recipe, data or parents"):
        train_here(
            dummy.recipe(lr=0.5), shards, {}, tmp_path / "b", nothing, keep=tmp_path / "kept"
        )


def test_training_does_not_wait_for_a_slow_place(
    shards, nothing, tmp_path, told_always, whole, monkeypatch
):
    """States are passed over, and one on its way outlives its removal here."""
    put, kept = keeping._put, set()

    def slowly(file, target):
        if len(kept) == 0:
            time.sleep(0.1)
        put(file, target)
        if target.name == "weights.safetensors":
            kept.add(target.parent.name)

    monkeypatch.setattr(keeping, "_put", slowly)
    cut(shards, nothing, tmp_path / "lost", tmp_path / "kept", 9)
    assert 0 < len(kept) < 8
    shutil.rmtree(tmp_path / "lost")
    finish(shards, nothing, tmp_path / "other", tmp_path / "kept")
    assert equal(whole, weights(tmp_path / "other"))


@pytest.mark.slow
def test_a_server_killed_during_an_upload_costs_a_warning_not_the_run(
    shards, nothing, tmp_path, s3, told_always, slow, whole, monkeypatch, caplog
):
    """It dies between two files of a state; training goes on; the next state is tried again."""
    keep, upload, sent = s3.place("kept", patience_s=0.5), Remote.upload, []

    def dying(self, path):
        sent.append(self.url)
        if self.url.endswith("step_000000003/state.json"):
            s3.kill()
        upload(self, path)

    def watch(stage, step, steps, losses, seconds_left):
        if step == 5 and s3.process is None:
            time.sleep(1.5)  # the server stays away beyond the patience
            s3.start()

    monkeypatch.setattr(Remote, "upload", dying)
    with caplog.at_level(logging.WARNING, "training"):
        train_here(
            dummy.recipe(save_every_s=0.0), shards, {}, tmp_path / "out", nothing, None, watch, keep
        )
    lost = [r.getMessage() for r in caplog.records if "was not kept" in r.getMessage()]
    assert lost
    assert "step_000000003" in lost[0]
    assert any("step_000000009/" in url for url in sent)
    assert equal(whole, weights(tmp_path / "out"))
    files = read_json(bucket(s3) / LIST)["files"]
    assert {"weights.safetensors", "card.json"} <= files.keys()
    finish(shards, nothing, tmp_path / "other", keep)
    assert equal(whole, weights(tmp_path / "other"))


def test_an_upload_that_cant_be_made_at_the_end_is_one_sentence_and_the_folder_is_whole(
    shards, nothing, tmp_path, s3, told_always, slow, whole
):
    keep = s3.place("kept", patience_s=0.2)

    def watch(stage, step, steps, losses, seconds_left):
        if step == 8:
            s3.kill()

    with pytest.raises(InputError, match=r"is finished and whole, but it is not kept: can't reach"):
        train_here(
            dummy.recipe(save_every_s=0.0), shards, {}, tmp_path / "out", nothing, None, watch, keep
        )
    assert equal(whole, weights(tmp_path / "out"))
    with pytest.raises(InputError, match="can't reach s3://bucket/kept"):
        finish(shards, nothing, tmp_path / "empty", keep)
    s3.start()
    finish(shards, nothing, tmp_path / "out", keep)
    assert (bucket(s3) / LIST).exists()
