"""What a recipe may switch on in the loop: parts of a batch, compiling, best weights, pictures."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.checkpoint import read_card
from core.errors import InputError
from core.weights import Store
from models.flashlips.unet import UNet
from models.flashlips.vit import ViT
from tests.training import dummy
from training import checkpointing
from training.job import train_here
from training.ray_job import local_ray, train_on_ray
from training.recipes.flashlips import NANO_NET, nano_reconstruction
from training.saving import Saver


def close(a, b, tolerance=1e-6):
    ours, theirs = load_file(a.weights), load_file(b.weights)
    return all(torch.allclose(ours[n], theirs[n], atol=tolerance) for n in ours)


@pytest.mark.ray
@pytest.mark.slow
def test_parts_of_a_batch_workers_and_shards_of_the_weights_are_one_sum(shards, nothing, tmp_path):
    """Two parts here, two workers, and two workers that hold half of the weights each."""
    parts = train_here(dummy.recipe(accumulate=2), shards, {}, tmp_path / "parts", nothing)
    with local_ray(2):
        two = train_on_ray(dummy.recipe(), shards, {}, tmp_path / "two", nothing, workers=2)
        spread = dummy.recipe(sharded=True, save_every_s=0.0, validate_every=5)
        held = train_on_ray(spread, shards, {}, tmp_path / "spread", nothing, workers=2)
    assert close(parts, two)
    assert close(two, held)
    assert held.metrics == pytest.approx(two.metrics, rel=1e-4)
    alone = train_here(dummy.recipe(), shards, {}, tmp_path / "alone", nothing)
    assert not close(alone, two, 1e-4)


def test_a_batch_must_divide_into_its_parts(shards, nothing, tmp_path):
    with pytest.raises(InputError, match="1 workers and 3 parts; use 18"):
        train_here(dummy.recipe(accumulate=3), shards, {}, tmp_path, nothing)


@pytest.mark.parametrize("make", [
    lambda: UNet(6, 3, channels=(16, 32), blocks=1, mid=1, groups=4),
    lambda: ViT(6, 3, narrow=8, dim=16, depth=2, heads=2, groups=4),
])  # fmt: skip
def test_checkpointed_activations_change_no_gradient(make):
    torch.manual_seed(0)
    net, x = make(), torch.randn(2, 6, 8, 8)
    found = []
    for net.checkpointing in (False, True):
        net.zero_grad()
        net(x).square().sum().backward()
        found.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_compiled_and_checkpointed_run_is_the_same_run(shards, nothing, tmp_path):
    plain = train_here(dummy.recipe(), shards, {}, tmp_path / "plain", nothing)
    changed = dummy.recipe(compile="eager", checkpointing=True)
    assert close(plain, train_here(changed, shards, {}, tmp_path / "changed", nothing))


def test_the_best_weights_are_kept_beside_the_last(shards, nothing, tmp_path):
    """A learning rate that is far too high at the end: the last weights are not the best."""
    notes = dummy.Notes()
    recipe = dummy.recipe(
        steps=40, validate_every=5, lr=0.3, lr_schedule="constant", warmup=30, ema=0.0
    )
    last = train_here(recipe, shards, {}, tmp_path, nothing, notes)
    errors = {s: v["held_out.error"] for s, v in notes.numbers if "held_out.error" in v}
    assert len(errors) == 8
    best = read_card(tmp_path / "best")
    assert best.step == min(errors, key=errors.__getitem__)
    assert best.metrics["held_out.error"] == min(errors.values())
    assert (last.step, last.metrics["held_out.error"]) == (40, errors[40])
    assert best.recipe_sha == last.recipe_sha
    assert load_file(best.weights).keys() == load_file(last.weights).keys()


def test_histograms_come_at_their_interval(shards, nothing, tmp_path):
    notes = dummy.Notes()
    train_here(dummy.recipe(histogram_every=5), shards, {}, tmp_path, nothing, notes)
    pictures = sorted((tmp_path / "histograms").iterdir())
    assert [p.name for p in pictures] == ["step_000000005.png", "step_000000010.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert "step_000000005.png" in notes.files


def test_a_state_that_cannot_be_written_ends_the_run(shards, nothing, tmp_path, monkeypatch):
    def full(*args):
        raise InputError("can't write: no space left")

    monkeypatch.setattr(checkpointing, "write_state", full)
    with pytest.raises(InputError, match="no space left"):
        train_here(dummy.recipe(save_every_s=0.0), shards, {}, tmp_path, nothing)


def test_training_goes_on_while_a_state_is_written(shards, nothing, tmp_path, monkeypatch):
    """The copy is of the moment: what training does meanwhile is not in it."""
    import threading

    gate, kept = threading.Event(), []
    monkeypatch.setattr(
        checkpointing, "write_state", lambda out, state, who: gate.wait(5) and kept.append(state)
    )
    net = torch.nn.Linear(2, 2)
    live = checkpointing.named_tensors({"net": net})
    params = checkpointing.named_parameters({"net": net})
    run = checkpointing.Run(
        live, checkpointing.Ema(live, 0.0), torch.optim.AdamW(params.values()), params, step=3
    )
    before = {name: t.clone() for name, t in live.items()}
    saver = Saver(tmp_path, checkpointing.Identity("a", "b", {}))
    saver.save(run)
    with torch.no_grad():
        net.weight.add_(1)
    gate.set()
    saver.wait()
    saved = kept[0].files["weights.safetensors"]
    assert all(torch.equal(saved[name], before[name]) for name in before)


def test_a_validation_films_what_it_measures(tmp_path, toy_shards):
    small = {"channels": [16, 16, 16], "blocks": 1, "mid": 1, "groups": 4}
    recipe = replace(
        nano_reconstruction(), steps=1, batch=2, held_out_samples=4, film_frames=6,
        net={**NANO_NET, "editor": {**NANO_NET["editor"], "unet": small}},
    )  # fmt: skip
    notes = dummy.Notes()
    train_here(recipe, toy_shards, {}, tmp_path, Store(()), notes)
    (film,) = (tmp_path / "pictures").glob("*.mp4")
    assert film.name in notes.files
    with av.open(str(film)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert np.stack(frames).shape == (6, 128, 256, 3)
