"""Recipes of the slim codec."""

from __future__ import annotations

from dataclasses import replace

from training.recipe import TrainRecipe


def slim() -> TrainRecipe:
    """The shipped codec: 40 minutes on one core, started from TAEF2's tensors."""
    return TrainRecipe(
        system="codec",
        stage="slim",
        net={"stem": 64, "half_blocks": 1},
        loss_weights={"pixel": 1.0, "square": 4.0, "edge": 0.5, "detail": 0.0, "latent": 0.1},
        steps=4000,
        batch=16,
        lr=5e-4,
        warmup=50,
        weight_decay=0.0,
        ema=0.997,
        minutes=40.0,
        held_out_samples=16,
        threads=1,
        save_half=True,
        notes=(
            "Layers at a quarter and an eighth of the resolution start from TAEF2 "
            "(github.com/madebyollin/taesd, MIT); latents are TAEF2's.",
            "Packaged photos: scikit-image (public domain, CC0), matplotlib's grace_hopper (public "
            "domain), scikit-learn's china and flower (CC BY 2.0, danielbuechele and vultilion).",
        ),
    )


def slim_refined() -> TrainRecipe:
    """Goes on from ``slim`` (given as a parent) after sources were added."""
    return replace(slim(), lr=4e-4, minutes=20.0, seed=1)


def slim_sharp() -> TrainRecipe:
    """The last phase: the decoder alone, asked for as much detail as the truth has."""
    base = slim()
    return replace(
        base,
        net={**base.net, "freeze_encoder": True},
        loss_weights={"pixel": 1.0, "square": 0.0, "edge": 0.5, "detail": 1.0, "latent": 0.0},
        lr=3e-4,
        minutes=10.0,
        seed=2,
    )


def slim_debug() -> TrainRecipe:
    """A few steps, to see that everything holds together."""
    return replace(slim(), steps=3, minutes=0.0, batch=4, held_out_samples=4)
