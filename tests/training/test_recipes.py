from __future__ import annotations

import pytest
import torch

from models.flashlips.edit_losses import LATENT_TERMS, PIXEL_TERMS
from models.flashlips.parts import build, lips_dim
from training.job import find_stage
from training.optim import learning_rate
from training.recipes import flashlips as recipes

STAGE_1 = (
    recipes.reconstruction, recipes.reconstruction_vit,
    recipes.lips_change, recipes.lips_change_vit,
)  # fmt: skip


@pytest.mark.parametrize("make", STAGE_1)
def test_the_papers_losses_and_schedule(make):
    recipe = make()
    paper = {  # Eq. 9
        "lat_l1": 0.1, "lat_l1_mask": 0.1, "pix_l1_mask": 10, "pix_l1_lips": 100,
        "vgg": 50, "vgg_face": 5,
    }  # fmt: skip
    assert {k: v for k, v in recipe.loss_weights.items() if v} == paper
    terms = LATENT_TERMS | PIXEL_TERMS | set(recipe.net["perceptual"])
    assert recipe.loss_weights.keys() == terms
    rates = [learning_rate(recipe, 0, part / 1000) for part in range(1000)]
    assert max(rates) == pytest.approx(1e-4, rel=1e-3)
    assert learning_rate(recipe, 0, 1.0) == pytest.approx(1e-8, rel=0.01)


def test_stage_two_is_the_papers():
    recipe = recipes.audio_to_lips()
    assert {learning_rate(recipe, step, step / 100) for step in range(100)} == {5e-5}
    assert recipe.betas == (0.9, 0.999), "AdamW with default parameters"
    stage = find_stage(recipe)
    assert stage.fields(recipe.net) == ("crop", "expression", "speech", "emotion", "pose")
    assert find_stage(recipes.nano_audio_to_lips()).fields(recipes.NANO_NET) == stage.needs


def test_the_papers_nets():
    def millions(name, recipe):
        with torch.device("meta"):
            return sum(p.numel() for p in build(name, recipe.net).parameters()) / 1e6

    unet, vit = recipes.reconstruction(), recipes.reconstruction_vit()
    assert lips_dim(unet.net) == 12
    assert millions("editor", unet) == pytest.approx(211.17 + 0.63, abs=0.01)
    assert millions("editor", vit) == pytest.approx(268.94 + 0.63, abs=0.01)
    assert millions("image_encoder", unet) == pytest.approx(21.29, abs=0.02)  # ResNet-34
    resnet50 = recipes.distillation_resnet50()
    assert millions("image_encoder", resnet50) == pytest.approx(23.53, abs=0.02)
    projected = (3 * 768 * 512 + 512 + 2 * 512) / 1e6  # three layers of wav2vec 2.0 to d_a
    assert millions("fmt", recipes.audio_to_lips()) == pytest.approx(155.15 + projected, abs=0.01)
    assert 11.18 < millions("lips_encoder", unet) < 11.3  # ResNet-18 and a small MLP
