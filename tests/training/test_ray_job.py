from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from core.errors import InputError
from tests.training import dummy
from training.ray_job import local_ray, train_here, train_on_ray

pytestmark = pytest.mark.ray


def test_one_worker_on_ray_gives_the_weights_of_this_process(shards, nothing, tmp_path):
    told, notes = [], dummy.Notes()
    recipe = dummy.recipe(steps=30, threads=2)
    here = train_here(recipe, shards, {}, tmp_path / "here", nothing)
    with local_ray(2):
        ray = train_on_ray(
            recipe, shards, {}, tmp_path / "ray", nothing, notes, lambda *news: told.append(news)
        )
        wrong = dummy.recipe(loss_weights={"mse": 1.0})
        with pytest.raises(InputError, match="lacks"):
            train_on_ray(wrong, shards, {}, tmp_path / "wrong", nothing)
        two = train_on_ray(dummy.recipe(steps=5), shards, {}, tmp_path / "two", nothing, workers=2)
    ours, theirs = load_file(here.weights), load_file(ray.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert ray.metrics == here.metrics
    assert len(notes.losses()) == 30
    assert told[-1][:3] == ("first", 30, 30)
    assert (tmp_path / "ray" / "card.json").exists()
    assert not (tmp_path / "ray" / ".ray").exists()
    assert two.step == 5


def test_a_batch_that_does_not_divide_is_refused(shards, nothing, tmp_path):
    with pytest.raises(InputError, match="use 18"):
        train_on_ray(dummy.recipe(), shards, {}, tmp_path, nothing, workers=3)
