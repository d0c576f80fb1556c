from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from core.errors import InputError
from tests.training import dummy
from training.events import EventReader
from training.job import Job
from training.loop import Watch
from training.ray_job import _work, local_ray, train_here, train_on_ray


@pytest.mark.ray
def test_one_worker_on_ray_gives_the_weights_of_this_process(shards, nothing, tmp_path):
    told, notes = [], dummy.Notes()
    recipe = dummy.recipe(steps=30, threads=2)
    here = train_here(recipe, shards, {}, tmp_path / "here", nothing)
    ray = train_on_ray(
        recipe, shards, {}, tmp_path / "ray", nothing, notes, lambda *news: told.append(news)
    )
    ours, theirs = load_file(here.weights), load_file(ray.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ray.metrics == here.metrics
    assert len(notes.losses()) == 30
    assert told[-1][:3] == ("first", 30, 30)
    assert not (tmp_path / "ray" / ".ray").exists()
    # A finished stage starts no Ray at all.
    assert train_on_ray(recipe, shards, {}, tmp_path / "ray", nothing).step == 30


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_repeat_exactly(shards, nothing, tmp_path):
    recipe = dummy.recipe(steps=8, save_every_s=0.0)
    with local_ray(2):
        for name in ("a", "b"):
            train_on_ray(recipe, shards, {}, tmp_path / name, nothing, workers=2)
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    alone = train_here(recipe, shards, {}, tmp_path / "alone", nothing)
    assert any(not torch.equal(a[n], t) for n, t in load_file(alone.weights).items())


def test_a_mistake_found_on_a_worker_is_told_to_the_driver(shards, nothing, tmp_path):
    wrong = dummy.recipe(loss_weights={"mse": 1.0})
    job = Job(wrong, shards, {}, tmp_path / "out", nothing)
    reader = EventReader(tmp_path / "events.jsonl", Watch(dummy.Notes()))
    _work({"job": job, "events": reader.path, "threads": 1})
    reader.drain()
    assert "lacks [mae]" in reader.error


def test_a_batch_that_does_not_divide_is_refused(shards, nothing, tmp_path):
    with pytest.raises(InputError, match="use 18"):
        train_on_ray(dummy.recipe(), shards, {}, tmp_path, nothing, workers=3)
