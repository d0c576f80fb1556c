from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from core import recipe as recipes
from core.errors import InputError
from tests.training import dummy
from training import optim
from training.ema import Ema
from training.events import EventReader, EventWriter
from training.loop import Watch
from training.recipe import TrainRecipe
from training.validation import gate


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"steps": 0}, "steps"),
        ({"lr": 0.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"lr_schedule": "triangle"}, "one_cycle"),
        ({"ema": 1.0}, "ema"),
        ({"betas": (0.9, 1.5)}, "betas"),
        ({"batch": 2.5}, "whole"),
        ({"loss_weights": {}}, "loss_weights"),
        ({"loss_weights": {"mse": -1.0}}, "loss_weights.mse"),
        ({"loss_weights": {"mse": 0.0}}, "every one"),
        ({"stage": ""}, "stage"),
    ],
)
def test_a_recipe_refuses_nonsense(change, word):
    with pytest.raises(InputError, match=word):
        dummy.recipe(**change)


def test_a_recipe_is_overridden_by_key_and_comes_back_from_json():
    changed = recipes.override(dummy.recipe(), ["steps=7", "loss_weights.mae=0.5"])
    assert (changed.steps, changed.loss_weights["mae"]) == (7, 0.5)
    with pytest.raises(InputError, match="unknown key 'stepps'"):
        recipes.override(dummy.recipe(), ["stepps=7"])
    again = TrainRecipe(**json.loads(json.dumps(recipes.to_json(changed))))
    assert again == changed
    assert recipes.sha(again) == recipes.sha(changed) != recipes.sha(dummy.recipe())


def test_schedules():
    def rate(schedule, step, progress, warmup=0):
        return optim.learning_rate(
            dummy.recipe(lr=1.0, lr_schedule=schedule, warmup=warmup), step, progress
        )

    assert rate("cosine", 0, 0.0) == 1
    assert rate("cosine", 5, 0.5) == pytest.approx(0.5)
    assert rate("cosine", 9, 1.0) == pytest.approx(0)
    assert rate("constant", 0, 0.0, warmup=9) == pytest.approx(0.1)
    assert rate("constant", 9, 0.9, warmup=9) == 1
    assert rate("one_cycle", 0, 0.0) == pytest.approx(1 / 25)
    assert rate("one_cycle", 3, 0.3) == pytest.approx(1)
    assert rate("one_cycle", 9, 1.0) == pytest.approx(1e-4)


def test_ema_follows_and_swaps():
    net = nn.Linear(1, 1, bias=False)
    live = {"w": net.weight.data}
    live["w"].fill_(0.0)
    ema = Ema(live, 0.5)
    live["w"].fill_(1.0)
    for step in range(1, 5):
        ema.update(step)
    assert 0.9 < float(ema.tensors()["w"]) < 1
    live["w"].fill_(5.0)
    with ema.swapped():
        assert net.weight.item() < 1
    assert net.weight.item() == 5
    assert Ema(live, 0.0).tensors() is live


def test_norms_and_biases_do_not_decay():
    params = dict(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)).named_parameters())
    groups = optim.make_optimizer(params, dummy.recipe(weight_decay=0.3)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.3), (3, 0.0)]


def test_clipping_and_averaging_alone():
    p = nn.Parameter(torch.zeros(4))
    p.grad = torch.full((4,), 3.0)
    assert optim.clip_gradients({"p": p}, 1.0) == pytest.approx(6.0)
    assert float(p.grad.norm()) == pytest.approx(1.0, rel=1e-4)
    assert optim.average_gradients({"p": p}, torch.tensor(2.0)) == 2.0


def test_the_gate_needs_the_whole_interval():
    rng = np.random.default_rng(0)
    copy = rng.uniform(1, 2, 80)
    assert gate(copy * 0.8, copy).passed
    assert not gate(copy * 1.2, copy).passed
    assert not gate(copy + rng.normal(size=80), copy).passed
    assert not gate(np.full(80, np.nan), copy).passed


def test_the_gate_draws_whole_people():
    people = np.repeat(np.arange(6), 50)
    gains = np.repeat([3.0, -2.5, 2.0, -1.0, 2.5, -1.5], 50)  # 300 alike frames of 6 people
    alone, together = gate(-gains, np.zeros(300)), gate(-gains, np.zeros(300), people)
    assert alone.passed
    assert not together.passed
    assert (alone.units, together.units) == (300, 6)


def test_events_arrive_whole_and_in_order(tmp_path, caplog):
    notes, told = dummy.Notes(), []
    reader = EventReader(tmp_path / "e.jsonl", Watch(notes, lambda *news: told.append(news)))
    writer = EventWriter(tmp_path / "e.jsonl")
    import logging

    with reader.following(), writer.hearing("training.x"):
        writer.metrics({"loss/total": 1.0}, 3)
        writer.progress("first", 3, 10, {"mse": 1.0}, 4.5)
        with (tmp_path / "e.jsonl").open("a") as file:
            file.write('{"kind": "metr')  # half a line: not yet written to its end
            file.flush()
            reader.drain()
            file.write('ics", "values": {"loss/total": 2.0}, "step": 4}\n')
            file.write('{"kind": "metr')  # half a line: never written to its end
        writer.metrics({"loss/total": 3.0}, 5)
    assert notes.losses() == {3: 1.0, 4: 2.0, 5: 3.0}
    assert told == [("first", 3, 10, {"mse": 1.0}, 4.5)]
    logging.getLogger("training.x").setLevel(logging.NOTSET)


def test_a_workers_mistake_is_what_the_driver_raises(tmp_path):
    reader = EventReader(tmp_path / "e.jsonl", Watch(dummy.Notes()))
    writer = EventWriter(reader.path)

    def fail():
        with reader.following():
            writer.error("a longer one")
            writer.error("lower lr")
            raise RuntimeError("other workers miss the one that told")

    with pytest.raises(InputError, match=r"^lower lr$"):
        fail()


def test_numbers_that_a_killed_driver_had_not_passed_on_are_passed_on_by_the_next(tmp_path):
    path, first, second = tmp_path / "e.jsonl", dummy.Notes(), dummy.Notes()
    reader, writer = EventReader(path, Watch(first)), EventWriter(path)
    writer.metrics({"loss/total": 1.0}, 1)
    reader.drain()
    writer.metrics({"loss/total": 2.0}, 2)
    writer.error("lower lr")  # of the run that is over
    again = EventReader(path, Watch(second))
    assert (first.losses(), second.losses()) == ({1: 1.0}, {2: 2.0})
    writer.metrics({"loss/total": 3.0}, 3)
    again.drain()
    assert second.losses() == {2: 2.0, 3: 3.0}
    assert not again.error
    assert EventReader(path, Watch(dummy.Notes())).watch.tracker.losses() == {}


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        dummy.recipe().steps = 3
