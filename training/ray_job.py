"""A stage on Ray Train: the only file that imports ``ray.train``."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import recipe as recipes
from core.checkpoint import CARD, CheckpointRef, read_card
from core.contracts import Tracker
from core.errors import InputError
from core.files import room_in
from core.shards import Shards
from core.storage import Place
from core.weights import Store
from infra.placement import Ask, Node, share
from infra.settings import quiet, settings
from infra.trackers import NullTracker
from training.events import EventReader, EventWriter
from training.job import Job, check, known, run_stage, threads_of, train_here
from training.loop import Progress, Watch, device, no_progress
from training.recipe import TrainRecipe

__all__ = ["local_ray", "train_here", "train_on_ray"]

log = logging.getLogger(__name__)

# Nothing large goes through Ray's object store here: clips are read from disk by each worker.
_OBJECT_STORE_BYTES = 160 * 2**20
_RESTARTS = 2
# Of a minute each: so long may the workers of a lost node wait for room elsewhere.
_TRIES_TO_PLACE = 2


@contextmanager
def local_ray(cpus: int = 0) -> Iterator[None]:
    """One Ray for every stage inside; a Ray that already runs is used and left running.

    Start-up takes some five seconds, so several stages should share one.

    Args:
        cpus: CPUs it may hand out; 0 takes the machine's setting.

    Raises:
        InputError: Ray does not start, or nobody answers at the cluster's address.
    """
    quiet()
    from infra.ray_cluster import cluster

    with cluster(cpus or settings().threads, _OBJECT_STORE_BYTES):
        yield


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
        InputError: shards, parents or recipe don't fit together, or Ray has no room for the
            workers.
    """
    job = Job(recipe, shards, parents, out, store, keep).absolute()
    check(job, workers)
    done = known(job)
    if done is not None and keep is None:
        log.info("%s is finished: %s", recipe.stage, out)
        return read_card(out)
    tracker = tracker or NullTracker()
    tracker.params(recipes.to_json(recipe))
    # Workers of a cluster stand on machines of their own; here they share this one.
    threads = threads_of(recipe, 1 if settings().cluster else workers)
    with room_in(job.out):
        reader = EventReader(job.out / "events.jsonl", Watch(tracker, progress))
        with local_ray(threads * workers), reader.following():
            _fit(job, reader.path, workers, threads)
    tracker.artifact(out / CARD)
    return read_card(out)


def _fit(job: Job, events: Path, workers: int, threads: int) -> None:
    from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from infra.ray_cluster import room

    [ask] = room(functools.partial(_asks, job.recipe, workers, threads))
    scratch = job.out / ".ray"
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "events": events, "threads": threads},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=bool(ask.gpus), resources_per_worker=ask.bundle
        ),
        torch_config=TorchConfig(backend="nccl" if ask.gpus else "gloo"),
        run_config=RunConfig(
            name=job.recipe.stage,
            storage_path=str(scratch),
            failure_config=FailureConfig(
                max_failures=_RESTARTS,
                controller_failure_limit=_TRIES_TO_PLACE,  # type: ignore[call-arg]  # types of v1
            ),
        ),
    )
    try:
        trainer.fit()
    except ControllerError as error:
        if "Startup" not in type(error.controller_failure).__name__:  # Ray keeps its name private
            raise
        raise InputError(
            f"Ray found no room for {workers} workers with {ask.bundle}: a node was lost, or other "
            "jobs hold them; run the same command again later, it goes on from its last state"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _asks(recipe: TrainRecipe, workers: int, threads: int, nodes: Sequence[Node]) -> list[Ask]:
    """What training asks of these nodes: a recipe's threads as they are, others as they fit.

    A Ray that was started here has what this machine has, so there all is as it fits.
    """
    from infra.ray_cluster import is_ours

    gpus = settings().gpus
    if gpus is None:  # the driver may well stand on a node without any
        gpus = int(device().type == "cuda" or any(node.get("GPU") for node in nodes))
    ask = Ask(
        "training", workers, float(threads), float(gpus),
        fewer="set FLASHLIPS_WORKERS to so many",
        smaller="give the recipe fewer threads",
        without="set FLASHLIPS_GPUS=0 to train on processors",
    )  # fmt: skip
    if is_ours():
        return [replace(ask, cpus=min(ask.cpus, sum(n.get("CPU", 0.0) for n in nodes) / workers))]
    return [ask if recipe.threads else replace(ask, cpus=share(ask, nodes))]


def _work(config: dict[str, Any]) -> None:
    """A worker's part. A person's mistake is told, not raised: Ray would start the worker again."""
    writer = EventWriter(config["events"])
    quiet()
    try:
        with writer.hearing("training", "models"):
            run_stage(config["job"], Watch(writer, writer.progress), config["threads"])
    except InputError as error:
        writer.error(str(error))
