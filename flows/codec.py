"""The slim codec from its teacher's weights, in its three phases: ``make codec``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from core.checkpoint import CheckpointRef
from flows.console import Console
from infra.settings import settings
from training.recipe import TrainRecipe
from training.recipes import codec as recipes


def train_codec(real: Sequence[Path], rendered: Sequence[Path], out: Path) -> Path:
    """Photos and clips first, then rendered heads too, then the decoder alone for its detail.

    Packaged photos always take part. Checkpoints of the phases stay under ``runs/codec``.

    Args:
        real: folders or files of photos and clips whose licence allows it.
        rendered: folders of rendered clips.
        out: where the finished codec's weights and card go.
    """
    from training.picture_job import train_on_pictures

    console, parents, made = Console(), dict[str, CheckpointRef](), None
    phases: tuple[tuple[TrainRecipe, Sequence[Path]], ...] = (
        (recipes.slim(), ()),
        (recipes.slim_refined(), rendered),
        (recipes.slim_sharp(), rendered),
    )
    for recipe, heads in phases:
        folder = settings().runs / "codec" / f"seed{recipe.seed}"
        made = train_on_pictures(
            recipe, real, list(heads), folder, settings().store(), parents,
            progress=console.training,
        )  # fmt: skip
        parents = {"slim": made}
    assert made is not None, "there are three phases"
    out.mkdir(parents=True, exist_ok=True)
    for name in ("weights.safetensors", "card.json"):
        shutil.copyfile(Path(made.uri) / name, out / name)
    return out
