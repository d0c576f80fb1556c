"""Recipes for sidecars: fields that are added to finished shards, or made anew from them.

``flashlips preprocess --sidecar-of SHARDS --recipe preprocessing.sidecars:latents --out MORE``
"""

from __future__ import annotations

from dataclasses import replace

from core.media.crop import CropSpec
from core.weights import Store
from preprocessing.plan import Placed
from preprocessing.recipes import PreprocessRecipe, flashlips
from preprocessing.steps.expression import Expression
from preprocessing.steps.latents import Latents
from preprocessing.steps.masks import Masks
from preprocessing.steps.recrop import Recrop
from preprocessing.steps.speech import Speech


def latents() -> PreprocessRecipe:
    """Latents of another codec: ``--set codec=...``."""
    return replace(flashlips(), steps="preprocessing.sidecars:latents_steps")


def speech() -> PreprocessRecipe:
    """Features of another speech encoder: ``--set speech=...``."""
    return replace(flashlips(), steps="preprocessing.sidecars:speech_steps")


def recrop() -> PreprocessRecipe:
    """Another crop from the kept video, with its masks, expressions and latents."""
    return replace(flashlips(), steps="preprocessing.sidecars:recrop_steps")


def recrop_256() -> PreprocessRecipe:
    """The same at 256 px."""
    return replace(recrop(), crop=CropSpec(size=256), min_face=96.0)


def latents_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Codec latents of crops that exist."""
    return [
        Placed(Latents(recipe.codec, store, batch=recipe.codec_batch, threads=recipe.threads)),
    ]


def speech_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Speech features of sound that exists."""
    return [Placed(Speech(recipe.speech, store, threads=recipe.threads))]


def recrop_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Crop, M, M_lips, expression and latents at another ``CropSpec``."""
    return [
        Placed(Recrop(recipe.crop, min_face=recipe.min_face)),
        Placed(Masks()),
        Placed(Expression()),
        *latents_steps(recipe, store),
    ]
