"""Trains a codec from folders of pictures and videos, in this process, by the usual loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef, read_card
from core.contracts import Tracker
from core.sample import SCHEMA_VERSION
from core.weights import Store
from infra.trackers import NullTracker
from training import checkpointing
from training.data import Data
from training.job import find_stage, threads_of
from training.loop import Loop, Progress, Watch, no_progress
from training.patches import groups
from training.picture_data import PictureData, sources_of
from training.recipe import TrainRecipe


def train_on_pictures(
    recipe: TrainRecipe,
    real: Sequence[Path],
    rendered: Sequence[Path],
    out: Path,
    store: Store,
    parents: Mapping[str, CheckpointRef] | None = None,
    tracker: Tracker | None = None,
    progress: Progress = no_progress,
) -> CheckpointRef:
    """Trains ``recipe`` on random patches; resumes, and skips what is finished.

    Args:
        recipe: a codec's recipe.
        real: folders or files of real clips and photos; packaged photos always join them.
        rendered: folders or files of rendered clips.
        out: checkpoint folder to write.
        store: pretrained weights; the teacher lies there.
        parents: a checkpoint of the same stage to go on from.
        tracker: where numbers go.
        progress: told of steps, losses and seconds left while it runs.

    Raises:
        InputError: a source or the teacher is missing, or the recipe fits no objective.
    """
    parents, tracker = dict(parents or {}), tracker or NullTracker()
    objective: Any = find_stage(recipe).build(recipe.net, parents, {}, store)
    pictures = PictureData(groups(real, rendered), objective.derive)
    who = checkpointing.identity(recipe, pictures.hash(), parents)
    done = checkpointing.finished(out, recipe, who.data, parents)
    if done is not None:
        return done
    tracker.params(recipes.to_json(recipe))
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of(recipe))
    torch.manual_seed(recipe.seed)
    try:
        # The loop only asks its data for parts, batch and held_out.
        data = cast(Data, pictures)
        outcome = Loop(objective, data, recipe, out, who, Watch(tracker, progress)).fit()
    finally:
        torch.set_num_threads(before)
    ref = CheckpointRef(
        uri=str(out),
        system=recipe.system,
        stage=recipe.stage,
        step=outcome.step,
        recipe=recipes.to_json(recipe),
        recipe_sha=who.recipe_sha,
        net=objective.slim.sizes,
        crop="",
        codec="",
        schema_version=SCHEMA_VERSION,
        parents=who.parents,
        data=who.data,
        metrics=outcome.metrics,
        notes=(*recipe.notes, sources_of(real, rendered)),
    )
    checkpointing.save_final(ref, outcome.weights, recipe.save_half)
    tracker.artifact(out / CARD)
    return read_card(out)
