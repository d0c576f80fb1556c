"""One stage from recipe to checkpoint, in whatever process this runs."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef, read_card
from core.contracts import Objective, Tracker
from core.errors import InputError
from core.files import room_in
from core.sample import SCHEMA_VERSION
from core.shards import Shards, read_manifest
from core.storage import Place, absolute
from core.weights import Store
from infra.settings import settings
from infra.trackers import NullTracker
from models import SYSTEMS
from models.system import Stage, load_system
from training import checkpointing, optim, reading
from training.alone import alone
from training.keeping import Keeper
from training.loop import Loop, Progress, Watch, check_terms, no_progress
from training.memory import check_memory
from training.recipe import TrainRecipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything a stage starts from; small and picklable.

    Attributes:
        recipe: how to train.
        shards: folder of shards with its manifest, or one and its sidecars.
        parents: checkpoints by stage. One under the recipe's own stage gives the first weights.
        out: checkpoint folder to write; resumable states lie in it until the stage is finished.
        store: pretrained weights.
        keep: a second place for the states and the checkpoint, such as a bucket.
    """

    recipe: TrainRecipe
    shards: Shards
    parents: Mapping[str, CheckpointRef]
    out: Path
    store: Store
    keep: Place | None = None

    def absolute(self) -> Job:
        """The same with absolute paths: a worker may stand in another folder."""
        parents = {
            stage: replace(ref, uri=str(Path(ref.uri).resolve()))
            for stage, ref in self.parents.items()
        }
        store = Store(tuple(folder.resolve() for folder in self.store.folders))
        shards: Shards = (
            tuple(absolute(one) for one in self.shards)
            if isinstance(self.shards, Sequence)
            else absolute(self.shards)
        )
        keep = None if self.keep is None else absolute(self.keep)
        return Job(self.recipe, shards, parents, self.out.resolve(), store, keep)


def find_stage(recipe: TrainRecipe) -> Stage:
    """The recipe's stage.

    Raises:
        InputError: no such system or stage; lists the known ones.
    """
    if recipe.system in SYSTEMS or ":" not in recipe.system:
        system = load_system(recipe.system)
    else:  # a system that lives outside models/
        module_name, _, attribute = recipe.system.partition(":")
        try:
            system = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(f"recipe: can't import system {recipe.system!r} ({error})") from error
    if recipe.stage not in system.stages:
        raise InputError(
            f"recipe: {recipe.system} has no stage {recipe.stage!r}; "
            f"use one of {', '.join(system.stages)}"
        )
    stage: Stage = system.stages[recipe.stage]
    return stage


def check(job: Job, workers: int = 1) -> dict[str, Any]:
    """All that can be known to be wrong before anything starts.

    Returns:
        The shards' ``origin``.

    Raises:
        InputError: one sentence with the remedy.
    """
    stage = find_stage(job.recipe)
    for parent in stage.after:
        if parent not in job.parents:
            raise InputError(
                f"stage {job.recipe.stage} starts from {parent} but was given no checkpoint of it: "
                f"train {parent} first"
            )
    parts = workers * job.recipe.accumulate
    if job.recipe.batch % parts:
        held = f"{workers} workers"
        held += f" and {job.recipe.accumulate} parts" if job.recipe.accumulate > 1 else ""
        raise InputError(
            f"batch {job.recipe.batch} does not divide over {held}; use "
            f"{-(-job.recipe.batch // parts) * parts}"
        )
    fields = stage.fields(job.recipe.net)
    origin = reading.check_shards(job.shards, fields, job.parents)
    if settings().frame_cache is None:
        check_memory(job.shards, fields, workers)
    return origin


def known(job: Job) -> CheckpointRef | None:
    """The finished checkpoint of this very job, if it lies in ``out`` already."""
    data_hash = read_manifest(job.shards).hash()
    return checkpointing.finished(job.out, job.recipe, data_hash, job.parents)


def run_stage(job: Job, watch: Watch, threads: int) -> None:
    """Builds the objective, reads the shards, trains, and writes the checkpoint to ``job.out``.

    With torch.distributed initialised every worker calls this and the first one writes. Waits for
    a run that is in ``job.out`` already, and trains nothing when that one finished the stage.
    """
    with room_in(job.out), alone(job.out):
        who = checkpointing.identity(job.recipe, read_manifest(job.shards).hash(), job.parents)
        keeper = Keeper(job.out, job.keep if optim.rank() == 0 else None, who)
        if not _begun(keeper):
            return
        try:
            if not optim.agree(known(job) is not None):
                _train(job, watch, threads, keeper)
        finally:
            keeper.wait()
        keeper.finish()


def _begun(keeper: Keeper) -> bool:
    """Whether the first worker could begin to keep; it says why not, the others just end."""
    wrong: InputError | None = None
    try:
        keeper.begin()
    except InputError as error:
        wrong = error
    begun = bool(optim.agree(wrong is None))
    if wrong is not None:
        raise wrong
    return begun


def _train(job: Job, watch: Watch, threads: int, keeper: Keeper) -> None:
    recipe = job.recipe
    stage = find_stage(recipe)
    manifest = read_manifest(job.shards)
    with _threads(threads):
        torch.manual_seed(recipe.seed)
        objective = stage.build(recipe.net, job.parents, dict(manifest.origin), job.store)
        check_terms(objective, recipe)
        _start_from(job, objective)
        clips = reading.load(
            job.shards,
            stage.fields(recipe.net),
            recipe.exclude_speakers,
            getattr(objective, "derive", None),
            getattr(objective, "keeps", None),
            recipe.splits,
            settings().frame_cache,
        )
        who = checkpointing.identity(recipe, manifest.hash(), job.parents)
        outcome = Loop(objective, clips, recipe, job.out, who, watch, keeper.state).fit()
        if optim.rank() == 0:
            ref = CheckpointRef(
                uri=str(job.out),
                system=recipe.system,
                stage=recipe.stage,
                step=outcome.step,
                recipe=recipes.to_json(recipe),
                recipe_sha=who.recipe_sha,
                net={**recipe.net, **getattr(objective, "found", {})},
                crop=str(manifest.origin.get("crop", "")),
                codec=str(manifest.origin.get("codec", "")),
                schema_version=SCHEMA_VERSION,
                parents=who.parents,
                data=who.data,
                metrics=outcome.metrics,
                notes=(*recipe.notes, *getattr(objective, "notes", ())),
            )
            checkpointing.finish_best(ref, who)
            checkpointing.save_final(ref, outcome.weights, recipe.save_half)


def _start_from(job: Job, objective: Objective) -> None:
    """First weights from a checkpoint of the same stage, when one is among the parents."""
    start = job.parents.get(job.recipe.stage)
    if start is not None:
        live = checkpointing.named_tensors(objective.trainable())
        checkpointing.fill(live, checkpointing.read_weights(start.weights), str(start.weights))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch computes with ``count`` threads inside; Ray would leave it one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_of(recipe: TrainRecipe, workers: int = 1) -> int:
    """CPU threads of each worker: the recipe's number, or the machine's share."""
    return recipe.threads or max(1, settings().threads // workers)


def train_here(
    recipe: TrainRecipe,
    shards: Shards,
    parents: Mapping[str, CheckpointRef],
    out: Path,
    store: Store,
    tracker: Tracker | None = None,
    progress: Progress = no_progress,
    keep: Place | None = None,
) -> CheckpointRef:
    """Trains a stage in this process, without Ray; resumes, and skips what is finished.

    Args:
        recipe: how to train.
        shards: folder of shards.
        parents: checkpoints by stage that it starts from.
        out: checkpoint folder to write.
        store: pretrained weights.
        tracker: where numbers go.
        progress: told of steps, losses and seconds left while it runs.
        keep: a second place for states and checkpoint; an empty ``out`` begins with what is there.

    Raises:
        InputError: shards, parents or recipe don't fit together, or ``keep`` stays away at the
            start or at the end.
    """
    job = Job(recipe, shards, parents, out, store, keep)
    check(job)
    done = known(job)
    if done is not None and keep is None:
        log.info("%s is finished: %s", recipe.stage, out)
        return done
    tracker = tracker or NullTracker()
    tracker.params(recipes.to_json(recipe))
    run_stage(job, Watch(tracker, progress), threads_of(recipe))
    tracker.artifact(out / CARD)
    return read_card(out)
