"""A stage on Ray Train: the only file that imports ``ray.train``."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef, read_card
from core.contracts import Tracker
from core.errors import InputError
from core.shards import Shards
from core.storage import Place
from core.weights import Store
from infra.settings import quiet, settings
from training.events import EventReader, EventWriter
from training.job import Job, check, known, run_stage, threads_of, train_here
from training.loop import NoTracker, Progress, Watch, device, no_progress
from training.recipe import TrainRecipe

__all__ = ["local_ray", "train_here", "train_on_ray"]

log = logging.getLogger(__name__)

# Nothing large goes through Ray's object store here: clips are read from disk by each worker.
_OBJECT_STORE_BYTES = 160 * 2**20
_RESTARTS = 2


@contextmanager
def local_ray(cpus: int = 0) -> Iterator[None]:
    """One Ray for every stage inside; a Ray that already runs is used and left running.

    Start-up takes some five seconds, so several stages should share one.

    Args:
        cpus: CPUs it may hand out; 0 takes the machine's setting.

    Raises:
        InputError: Ray does not start; it gives itself 30 seconds.
    """
    quiet()
    import ray

    if ray.is_initialized():
        yield
        return
    ours: dict[str, Any] = {
        "address": "local",  # else Ray joins whatever a 'ray start' on this machine left behind
        "num_cpus": cpus or settings().threads,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    here = {} if settings().cluster else ours
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **here)
    except Exception as error:  # Ray has no narrower one for it
        raise InputError(
            f"Ray did not start ({str(error).splitlines()[0]}): run again when the machine is less "
            "busy, or train with --engine local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def train_on_ray(  # noqa: PLR0913 - train_here's, and how many
    recipe: TrainRecipe,
    shards: Shards,
    parents: Mapping[str, CheckpointRef],
    out: Path,
    store: Store,
    tracker: Tracker | None = None,
    progress: Progress = no_progress,
    workers: int = 1,
    keep: Place | None = None,
) -> CheckpointRef:
    """Trains a stage on Ray Train; with one worker the weights are those of ``train_here``.

    A worker that dies is started again and goes on from the last state. Arguments are those of
    ``train_here``; ``out`` must be a folder that every worker reads and writes.

    Raises:
        InputError: shards, parents or recipe don't fit together.
    """
    job = Job(recipe, shards, parents, out, store, keep).absolute()
    check(job, workers)
    done = known(job)
    if done is not None and keep is None:
        log.info("%s is finished: %s", recipe.stage, out)
        return read_card(out)
    tracker = tracker or NoTracker()
    tracker.params(recipes.to_json(recipe))
    reader = EventReader(job.out / "events.jsonl", Watch(tracker, progress))
    threads = threads_of(recipe, workers)
    with local_ray(threads * workers), reader.following():
        _fit(job, reader.path, workers, threads)
    if reader.error is not None:
        raise InputError(reader.error)
    tracker.artifact(out / CARD)
    return read_card(out)


def _fit(job: Job, events: Path, workers: int, threads: int) -> None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = device().type == "cuda"
    # Asking a running Ray for more than it has would wait forever.
    cpus = min(float(threads), ray.cluster_resources().get("CPU", 1.0) / workers)
    scratch = job.out / ".ray"
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "events": events, "threads": threads},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker=_resources(cpus, gpu)
        ),
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        run_config=RunConfig(
            name=job.recipe.stage,
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=_RESTARTS),
        ),
    )
    try:
        trainer.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _resources(cpus: float, gpu: bool) -> dict[str, float]:
    return {"CPU": cpus, "GPU": 1} if gpu else {"CPU": cpus}


def _work(config: dict[str, Any]) -> None:
    """A worker's part. A person's mistake is told, not raised: Ray would start the worker again."""
    writer = EventWriter(config["events"])
    quiet()
    try:
        with writer.hearing("training", "models"):
            run_stage(config["job"], Watch(writer, writer.progress), config["threads"])
    except InputError as error:
        writer.error(str(error))
