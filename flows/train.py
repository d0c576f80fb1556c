"""``train/STAGE`` and ``train/chain``: shards to checkpoints, one stage or all that are left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.states import Completed

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef, read_card
from core.errors import InputError
from core.files import read_json
from core.shards import MANIFEST, read_manifest
from core.storage import Place
from flows.artifacts import show_text, show_tracked
from flows.orchestration import SAFE, Reference, gpu, key_of, once, plainly, reference
from flows.recipes import load_job
from flows.tracking import child_run
from flows.work import data_hash, needed, train_recipe
from infra.mlflow_tracker import run_tags
from infra.settings import settings


@task(task_run_name="{name}", **SAFE)
def stage(
    key: str,
    name: str,
    recipe: Any,
    shards: tuple[str, ...],
    parents: Mapping[str, str],
    out: str,
    job: tuple[str, str],
    engine: Literal["local", "ray"] = "local",
) -> Reference:
    """One stage, with a tracked run of its own below the job's; goes on from its last state."""
    folder, places = Path(out), [settings().place(one) for one in shards]
    cards = {stage: read_card(Path(uri)) for stage, uri in parents.items()}
    tags = run_tags(recipe.system, recipe.stage, recipes.sha(recipe), data_hash(places))
    with gpu(engine), child_run(Path(job[0]), job[1], name, tags) as tracker:
        made = train_recipe(recipe, places, cards, folder, engine, tracker)
    return reference(Path(made.uri) / CARD)


def train_into(
    recipe: Any,
    shards: Sequence[str],
    parents: Mapping[str, CheckpointRef],
    out: Path,
    engine: Literal["local", "ray"] = "local",
    job: tuple[Path, str] | None = None,
) -> CheckpointRef:
    """The stage's checkpoint, cached by recipe, data and parents while it is there unchanged.

    Args:
        recipe: how to train.
        shards: on what, with sidecars.
        parents: checkpoints that it starts from, by stage.
        out: folder of the checkpoint.
        engine: here or on Ray.
        job: folder and name of the job in the tracking; the system's by default.
    """
    folder, name = job or (out.parent, f"{out.parent.parent.name}/{out.parent.name}")
    data = data_hash([settings().place(one) for one in shards])
    cards = {name: read_json(Path(card.uri) / CARD) for name, card in sorted(parents.items())}
    key = key_of("train", recipes.sha(recipe), data, cards, out.resolve())
    uris = {name: card.uri for name, card in parents.items()}
    tracked = (str(folder), name)
    card = once(stage, key, recipe.stage, recipe, tuple(shards), uris, str(out), tracked, engine)
    assert isinstance(card, Path), card
    show_tracked(folder)
    return read_card(card.parent)


@flow(name="train", flow_run_name="{recipe}")
@plainly
def train(
    shards: str,
    system: str,
    recipe: str,
    overrides: tuple[str, ...] = (),
    sidecars: tuple[str, ...] = (),
    engine: Literal["local", "ray"] = "local",
) -> str:
    """Shards to one stage's checkpoint.

    Goes on from the last state of a run that was cut short; a finished stage is skipped. Earlier
    stages that it starts from are taken from the same system folder.

    Args:
        shards: Folder or s3://bucket/prefix that preprocess made.
        system: Folder of the system; the checkpoint goes to a folder below it, by stage.
        recipe: How to train, package.module:function.
        overrides: Changes to the recipe, each key=value.
        sidecars: Further shards with more fields of the same samples.
        engine: local trains in one process, ray on all of Ray's workers.

    Returns:
        Folder of the checkpoint.
    """
    from training.job import find_stage

    wanted = recipes.override(recipes.load(recipe), overrides)
    folder = Path(system)
    there = [name for name in find_stage(wanted).after if (folder / name / CARD).exists()]
    parents = {name: read_card(folder / name) for name in there}
    return train_into(wanted, (shards, *sidecars), parents, folder / wanted.stage, engine).uri


@flow(name="train", flow_run_name="chain of {recipe}")
@plainly
def chain(
    shards: str = "runs/shards",
    systems: str = "runs/systems/flashlips",
    recipe: str = "flows.recipes:nano",
    overrides: tuple[str, ...] = (),
    engine: Literal["local", "ray"] = "local",
) -> str:
    """All stages of a system on the shards as they are now.

    Each state of the shards has a folder of its own, named by its manifest's hash. New shards since
    the last run start a system there, an unfinished one is gone on with, and when there is nothing
    to do the run ends at once and says so.

    Args:
        shards: Folder or s3://bucket/prefix that preprocess made.
        systems: Folder of the systems that were trained on states of these shards.
        recipe: A job whose stages are trained, package.module:function.
        overrides: Changes to the job, each key=value.
        engine: local trains in one process, ray on all of Ray's workers.

    Returns:
        Folder of the system.
    """
    place = settings().place(shards)
    if not (place / MANIFEST).exists():
        return _ended(f"nothing to train: there are no finished shards at {shards} yet")
    stages = load_job(recipe, overrides).stages
    if not stages:
        raise InputError(f"job {recipe} has no stages to train")
    folder = Path(systems) / read_manifest(place).hash()
    left = unfinished(stages, place, folder)
    if not left:
        return _ended(f"nothing new: {folder} was trained on the shards at {shards} as they are")
    begun = len(left) < len(stages) or (folder / left[0]).exists()
    word = "goes on with" if begun else "new shards: starts"
    show_text("plan", f"{folder} {word} {', '.join(left)}")
    made: dict[str, CheckpointRef] = {}
    for one in stages:
        made[one.stage] = train_into(one, (shards,), needed(one, made), folder / one.stage, engine)
    return str(folder)


def unfinished(stages: Sequence[Any], shards: Place, folder: Path) -> list[str]:
    """Stages whose checkpoint in ``folder`` is not there, or is of other data or recipes."""
    from training.job import Job, known

    made: dict[str, CheckpointRef] = {}
    for number, recipe in enumerate(stages):
        parents = needed(recipe, made)
        job = Job(recipe, shards, parents, folder / recipe.stage, settings().store())
        found = known(job)
        if found is None:
            return [r.stage for r in stages[number:]]
        made[recipe.stage] = found
    return []


def _ended(why: str) -> Any:
    """The run's end, told in its state."""
    return Completed(message=why, data=why)
