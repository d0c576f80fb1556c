"""The main job as one Prefect flow: clip -> shard -> checkpoints -> numbers -> report.

Between tasks travel only paths, names and numbers. Each task recognises its own finished work, so
running the flow again goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from core import recipe as recipes
from core.checkpoint import read_card
from flows.console import Console
from flows.recipes import MainJob
from flows.tracking import child_run, parent_run
from flows.work import data_hash, needed, preprocess_clips, train_recipe
from infra.mlflow_tracker import run_tags
from infra.settings import settings


def load_job(recipe: str, overrides: Sequence[str] = ()) -> MainJob:
    """The main job's recipe with overrides applied."""
    job: MainJob = recipes.override(recipes.load(recipe), overrides)
    return job


def folder_of(job: MainJob) -> Path:
    """Where a job's files go."""
    return settings().runs / job.name


@task(cache_policy=NO_CACHE)
def corpus(recipe: str, overrides: list[str]) -> str:
    """Renders the synthetic corpus; clips that are there are kept."""
    from preprocessing.datasets.synthetic import render_corpus

    job, console = load_job(recipe, overrides), Console()
    root = settings().runs / "corpus" / job.corpus
    render_corpus(
        root, settings().store(), job.identities, job.seconds, job.clips, job.seed,
        workers=settings().threads,
        progress=console.counter("corpus"),
    )  # fmt: skip
    return str(root)


@task(cache_policy=NO_CACHE)
def preprocess(recipe: str, overrides: list[str], source: str) -> str:
    """Clips to shards on Ray Data."""
    job = load_job(recipe, overrides)
    shards = folder_of(job) / "shards"
    preprocess_clips("synthetic", Path(source), shards, job.preprocessing, engine="ray")
    return str(shards)


@task(cache_policy=NO_CACHE)
def train(recipe: str, overrides: list[str], stage: str, shards: str, made: dict[str, str]) -> str:
    """One stage on Ray Train, with a tracked run of its own."""
    job = load_job(recipe, overrides)
    training = {r.stage: r for r in job.with_speakers_held_out()}[stage]
    parents = needed(training, {name: read_card(Path(uri)) for name, uri in made.items()})
    out = folder_of(job) / "system" / stage
    tags = run_tags(training.system, stage, recipes.sha(training), data_hash(Path(shards)))
    with child_run(folder_of(job), job.name, stage, tags) as tracker:
        return train_recipe(training, Path(shards), parents, out, "ray", tracker).uri


@task(cache_policy=NO_CACHE)
def evaluate(recipe: str, overrides: list[str], shards: str, system: str) -> str:
    """Held-out time of everybody, measured beside the baselines; the report's path."""
    from flows.measure import evaluate_system

    job = load_job(recipe, overrides)
    tags = run_tags("flashlips", "evaluate", recipes.sha(job), data_hash(Path(shards)))
    with child_run(folder_of(job), job.name, "evaluate", tags) as tracker:
        report = evaluate_system(
            Path(shards), Path(system), folder_of(job) / "report",
            title=f"FlashLips {job.name}", tracker=tracker, most_clips=job.measured,
        )  # fmt: skip
    return str(report)


@flow(name="end_to_end", log_prints=False)
def end_to_end(recipe: str = "flows.recipes:demo", overrides: list[str] | None = None) -> str:
    """preprocess -> reconstruction -> distillation -> LipsChange -> audio-to-lips -> evaluate.

    Args:
        recipe: ``package.module:function`` that gives a ``MainJob``.
        overrides: ``key=value`` settings of that job.

    Returns:
        Path of the report.
    """
    from training.ray_job import local_ray

    settings_ = overrides or []
    job, console = load_job(recipe, settings_), Console()
    tags = {**run_tags("flashlips", "all", recipes.sha(job)), "job": job.name}
    parent = parent_run(folder_of(job), job.name, tags)
    steps = len(job.stages) + 3

    def say(number: int, text: str) -> None:
        console.say(f"[{number}/{steps}] {text}")

    say(1, "synthetic talking people")
    source = corpus(recipe, settings_)
    with local_ray():
        say(2, "clips to shards (Ray Data)")
        shards = preprocess(recipe, settings_, source)
        made: dict[str, str] = {}
        for number, stage in enumerate((r.stage for r in job.stages), 3):
            say(number, f"train {stage} (Ray Train)")
            made[stage] = train(recipe, settings_, stage, shards, made)
    say(steps, "measure on held-out time")
    report = evaluate(recipe, settings_, shards, str(folder_of(job) / "system"))
    parent.close()
    return report
