"""The main job as one Prefect flow: clip -> shard -> checkpoints -> numbers -> report.

Between tasks travel only paths, names and numbers. Each task recognises its own finished work, so
running the flow again goes on where it stopped.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef
from core.files import read_json
from flows.artifacts import show_shards
from flows.console import Console
from flows.orchestration import SAFE, Reference, gpu, key_of, once, plainly, reference
from flows.preprocess import shard, work_key
from flows.recipes import MainJob, load_job
from flows.tracking import child_run, parent_run
from flows.train import train_into
from flows.work import data_hash, needed
from infra.mlflow_tracker import run_tags
from infra.settings import settings


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


@task(**SAFE)
def report(key: str, recipe: str, overrides: list[str], shards: str, system: str) -> Reference:
    """Held-out time of everybody, measured beside the baselines; the report's page."""
    from flows.measure import evaluate_system

    job = load_job(recipe, overrides)
    tags = run_tags("flashlips", "evaluate", recipes.sha(job), data_hash(Path(shards)))
    with gpu(), child_run(folder_of(job), job.name, "evaluate", tags) as tracker:
        page = evaluate_system(
            Path(shards), Path(system), folder_of(job) / "report",
            title=f"FlashLips {job.name}", tracker=tracker, most_clips=job.measured,
        )  # fmt: skip
    return reference(page)


@flow(name="end-to-end", flow_run_name="{recipe}")
@plainly
def end_to_end(recipe: str = "flows.recipes:demo", overrides: tuple[str, ...] = ()) -> str:
    """Synthetic people to shards, all stages of the system, and a report on held-out time.

    What is finished is skipped, what was cut short is gone on with.

    Args:
        recipe: The job, package.module:function.
        overrides: Changes to the job, each key=value.

    Returns:
        Path of the report.
    """
    from training.ray_job import local_ray

    settings_ = list(overrides)
    job, console = load_job(recipe, settings_), Console()
    tags = {**run_tags("flashlips", "all", recipes.sha(job)), "job": job.name}
    folder = folder_of(job)
    parent = parent_run(folder, job.name, tags)
    steps = len(job.stages) + 3

    def say(number: int, text: str) -> None:
        console.say(f"[{number}/{steps}] {text}")

    say(1, "synthetic talking people")
    source, shards, system = corpus(recipe, settings_), folder / "shards", folder / "system"
    with local_ray():
        say(2, "clips to shards (Ray Data)")
        key = work_key("synthetic", source, str(shards), job.preprocessing)
        once(shard, key, "synthetic", source, str(shards), job.preprocessing, (), "ray")
        show_shards(shards)
        made: dict[str, CheckpointRef] = {}
        for number, training in enumerate(job.with_speakers_held_out(), 3):
            stage, parents = training.stage, needed(training, made)
            say(number, f"train {stage} (Ray Train)")
            made[stage] = train_into(
                training, (str(shards),), parents, system / stage, "ray", (folder, job.name)
            )
    say(steps, "measure on held-out time")
    cards = [read_json(Path(card.uri) / CARD) for card in made.values()]
    key = key_of("report", cards, data_hash(shards), job.measured, folder.resolve())
    page = once(report, key, recipe, settings_, str(shards), str(system))
    parent.close()
    return str(page)
