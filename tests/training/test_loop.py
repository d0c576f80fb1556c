from __future__ import annotations

import logging

import pytest
import torch
from safetensors.torch import load_file

from core.checkpoint import read_card
from core.errors import InputError
from tests.training import dummy
from training import checkpointing, loop, optim
from training.job import Job, find_stage, train_here
from training.loop import Diverged


def weights(folder):
    return load_file(folder / "weights.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Killed(Exception):
    pass


def killed_at(step):
    def progress(stage, done, steps, losses, left):
        if done >= step:
            raise Killed

    return progress


@pytest.fixture
def told_always(monkeypatch):
    monkeypatch.setattr(loop, "_PROGRESS_EVERY_S", 0.0)


def test_a_learner_passes_the_gate(shards, nothing, tmp_path):
    notes = dummy.Notes()
    ref = train_here(dummy.recipe(steps=200), shards, {}, tmp_path / "out", nothing, notes)
    assert ref.metrics["gate"] == 1
    assert ref.metrics["held_out.gain_low"] > 0
    assert ref.metrics["held_out.error"] < 0.5 * ref.metrics["held_out.copy_error"]
    assert (ref.step, ref.crop, ref.stage) == (200, "dummy@4", "first")
    assert read_card(tmp_path / "out") == ref
    assert not (tmp_path / "out" / "state").exists()
    losses = notes.losses()
    assert len(losses) == 200
    assert losses[200] < losses[1]
    assert "loss/mae" in notes.numbers[0][1], "terms of weight 0 are measured"
    assert notes.files[-1] == "card.json"
    assert notes.files[0] == "step_000000200.png"
    assert notes.recipe["steps"] == 200


def test_a_stage_that_learns_nothing_fails_the_gate(shards, nothing, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "training"):
        ref = train_here(dummy.recipe(steps=2, lr=1e-9), shards, {}, tmp_path, nothing)
    assert ref.metrics["gate"] == 0
    assert "gate: failed" in caplog.text


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_goes_on_bit_for_bit(shards, nothing, tmp_path, told_always, ema):
    recipe = dummy.recipe(ema=ema, save_every_s=0.0)
    whole, first, second = dummy.Notes(), dummy.Notes(), dummy.Notes()
    train_here(recipe, shards, {}, tmp_path / "whole", nothing, whole)
    with pytest.raises(Killed):
        train_here(recipe, shards, {}, tmp_path / "cut", nothing, first, killed_at(6))
    train_here(recipe, shards, {}, tmp_path / "cut", nothing, second)
    assert min(second.losses()) == 6, "resumed from the state after step 5"
    assert {**first.losses(), **second.losses()} == whole.losses()
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_damaged_state_falls_back_to_the_one_before(
    shards, nothing, tmp_path, told_always, caplog
):
    recipe = dummy.recipe(save_every_s=0.0)
    with pytest.raises(Killed):
        train_here(recipe, shards, {}, tmp_path / "cut", nothing, progress=killed_at(6))
    states = sorted((tmp_path / "cut" / "state").iterdir())
    assert [s.name for s in states] == ["step_000000004", "step_000000005"]
    raw = bytearray((states[-1] / "weights.safetensors").read_bytes())
    raw[-3] ^= 0xFF
    (states[-1] / "weights.safetensors").write_bytes(raw)
    with caplog.at_level(logging.INFO, "training"):
        train_here(recipe, shards, {}, tmp_path / "cut", nothing)
    damaged = [r.getMessage() for r in caplog.records if "is damaged" in r.getMessage()]
    assert len(damaged) == 1
    assert "step_000000005" in damaged[0]
    assert "goes on from step 4" in caplog.text
    train_here(recipe, shards, {}, tmp_path / "whole", nothing)
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_states_of_another_recipe_are_not_resumed(shards, nothing, tmp_path, told_always, caplog):
    with pytest.raises(Killed):
        train_here(
            dummy.recipe(save_every_s=0.0), shards, {}, tmp_path, nothing, progress=killed_at(6)
        )
    with caplog.at_level(logging.INFO, "training"):
        train_here(dummy.recipe(lr=0.01), shards, {}, tmp_path, nothing)
    assert "belongs to another recipe" in caplog.text
    assert "goes on from" not in caplog.text


def test_a_finished_stage_is_recognised_and_another_recipe_is_not(shards, nothing, tmp_path):
    ref = train_here(dummy.recipe(), shards, {}, tmp_path, nothing)
    again = train_here(dummy.recipe(), shards, {}, tmp_path, nothing, progress=killed_at(0))
    assert again == ref
    assert checkpointing.finished(tmp_path, dummy.recipe(seed=1), ref.data, {}) is None
    assert checkpointing.finished(tmp_path, dummy.recipe(), "other data", {}) is None
    assert checkpointing.finished(tmp_path, dummy.recipe(), ref.data, {"first": ref}) is None


def test_a_second_stage_names_its_parent_and_may_start_from_itself(shards, nothing, tmp_path):
    first = train_here(dummy.recipe(), shards, {}, tmp_path / "1", nothing)
    recipe = dummy.recipe(stage="second", batch=4)
    with pytest.raises(InputError, match="train first first"):
        train_here(recipe, shards, {}, tmp_path / "2", nothing)
    second = train_here(recipe, shards, {"first": first}, tmp_path / "2", nothing)
    assert second.parents == {"first": checkpointing.content_hash(first.weights)}
    more = train_here(
        dummy.recipe(steps=1, lr=1e-12, ema=0.0), shards, {"first": first}, tmp_path / "3", nothing
    )
    for name, tensor in load_file(more.weights).items():
        assert torch.allclose(tensor, load_file(first.weights)[name], atol=1e-6)


def test_no_number_is_skipped_counted_and_at_last_stops_the_run(shards, nothing, tmp_path):
    notes = dummy.Notes()
    sick = dummy.recipe(net={"sick_from": 3, "sick_for": 2})
    ref = train_here(sick, shards, {}, tmp_path / "a", nothing, notes)
    assert all(torch.isfinite(t).all() for t in load_file(ref.weights).values())
    logged = [v for _, v in notes.numbers if "skipped_steps" in v]
    assert logged[-1]["skipped_steps"] == 2
    with pytest.raises(Diverged, match=r"no number \(mse, total\) in 4 steps in a row"):
        train_here(
            dummy.recipe(net={"sick_from": 3}, bad_steps=4), shards, {}, tmp_path / "b", nothing
        )
    assert not (tmp_path / "b" / "card.json").exists()


def test_unequal_loss_keys_are_refused(shards, nothing, tmp_path):
    wrong = dummy.recipe(loss_weights={"mse": 1.0, "lips": 1.0})
    with pytest.raises(InputError, match=r"lacks \[mae\] and has unknown \[lips\]"):
        train_here(wrong, shards, {}, tmp_path, nothing)


def test_the_clock_ends_a_run_and_the_schedule(shards, nothing, tmp_path):
    notes, left = dummy.Notes(), []
    train_here(
        dummy.recipe(steps=10**7, minutes=0.02, warmup=0), shards, {}, tmp_path, nothing, notes,
        lambda stage, step, steps, losses, seconds: left.append(seconds),
    )  # fmt: skip
    rates = [v["lr"] for _, v in notes.numbers if "lr" in v]
    assert rates[0] == pytest.approx(0.02, rel=1e-3)
    assert rates[-1] < 0.001
    assert all(seconds <= 1.2 for seconds in left)
    assert left[-1] < 0.1


def test_half_weights_and_bfloat16(shards, nothing, tmp_path):
    recipe = dummy.recipe(bf16=True, save_half=True, steps=3)
    ref = train_here(recipe, shards, {}, tmp_path, nothing)
    assert {t.dtype for t in load_file(ref.weights).values()} == {torch.float16}


def test_unknown_systems_and_stages_are_named():
    with pytest.raises(InputError, match="flashlips"):
        find_stage(dummy.recipe(system="nosuch"))
    with pytest.raises(InputError, match="can't import"):
        find_stage(dummy.recipe(system="nosuch.module:SYSTEM"))
    with pytest.raises(InputError, match="first, second"):
        find_stage(dummy.recipe(stage="third"))


def test_a_foreign_weights_file_is_one_sentence(shards, nothing, tmp_path):
    first = train_here(dummy.recipe(), shards, {}, tmp_path / "1", nothing)
    first.weights.write_bytes(b"no safetensors at all")
    with pytest.raises(InputError, match="no readable safetensors"):
        train_here(dummy.recipe(), shards, {"first": first}, tmp_path / "2", nothing)


def test_jobs_become_absolute(nothing, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    job = Job(dummy.recipe(), Path("shards"), {}, Path("out"), nothing).absolute()
    assert job.shards == tmp_path / "shards"


def test_an_objective_that_asks_is_told_the_time(shards, nothing, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(dummy.Objective, "at", lambda self, done: told.append(done), raising=False)
    train_here(dummy.recipe(steps=4), shards, {}, tmp_path, nothing)
    assert told == [0, 0.25, 0.5, 0.75]


def test_a_step_whose_fellows_are_gone_is_not_told(shards, nothing, tmp_path, monkeypatch):
    """Ray takes the group away under a worker whose fellow died: nothing is averaged then."""
    notes, average = dummy.Notes(), optim.average_gradients

    def taken_away(*args):
        mean = average(*args)
        if len(notes.losses()) == 4:
            monkeypatch.setattr(optim, "workers", lambda: 2)
        return mean

    monkeypatch.setattr(optim, "average_gradients", taken_away)
    with pytest.raises(RuntimeError, match="2 of 1 workers are left"):
        train_here(dummy.recipe(), shards, {}, tmp_path / "out", nothing, notes)
    assert sorted(notes.losses()) == [1, 2, 3, 4]
