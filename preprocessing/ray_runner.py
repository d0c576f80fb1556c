"""The same chain on Ray Data: pools of actors, one for every run of steps of equal place.

The only file of preprocessing that imports ray.
"""

from __future__ import annotations

import functools
import itertools
import logging
import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayTaskError

from core.clip import Clip
from core.errors import InputError
from infra.placement import Ask, Node
from infra.ray_cluster import cluster, is_ours, nodes, room
from preprocessing.guard import Guard
from preprocessing.plan import Placed, Work

Batch = dict[str, Any]


class _Worker:
    """One actor: guards the process that holds its steps; takes and gives pickled work.

    Without the guard a file that crashes its actor would be tried again for ever.
    """

    def __init__(self, chain: Sequence[Placed], folder: str | None) -> None:
        self.guard = Guard(chain, None if folder is None else Path(folder))

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        for data in batch["work"]:
            for part in self.guard.do(pickle.loads(data)):
                yield {"work": [pickle.dumps(part)]}


def run(clips: Iterable[Clip], chain: Sequence[Placed], folder: Path) -> Iterator[Work]:
    """Takes clips through the chain on the Ray cluster, or on one started here for the while.

    Args:
        clips: as listed, with ids.
        chain: the steps.
        folder: where finished samples are written; every node must reach it.

    Yields:
        Every finished part, its sample written, without fields; in no fixed order.

    Raises:
        InputError: a worker could not go on for a reason that a person can mend.
    """
    items = [{"work": pickle.dumps(Work(clip.id, clip))} for clip in clips]
    if not items:
        return
    with cluster():
        try:
            for found in _dataset(items, chain, folder).iter_rows():
                yield pickle.loads(found["work"])
        except RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise InputError(str(error.cause)) from error
            raise


def _dataset(items: list[Batch], chain: Sequence[Placed], folder: Path) -> ray.data.Dataset:
    ray.data.DataContext.get_current().enable_progress_bars = False  # we have our own
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    pools = [list(group) for _, group in itertools.groupby(chain, key=lambda p: p.place)]
    asks = room(functools.partial(_asks, pools))
    cores = sum(node.get("CPU", 0.0) for node in nodes())
    # One block an input, so that a long clip holds up only its own worker.
    data: ray.data.Dataset = ray.data.from_items(items, override_num_blocks=len(items))
    for i, (pool, ask) in enumerate(zip(pools, asks, strict=True)):
        first = pool[0]
        most = first.workers or max(1, int(cores / len(pools) / ask.cpus))
        last = i == len(pools) - 1
        data = data.map_batches(
            _Worker,
            fn_constructor_args=(pool, str(folder.resolve()) if last else None),
            batch_size=first.batch,
            num_cpus=ask.cpus,
            num_gpus=ask.gpus or None,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(items))),
        )
    return data


def _asks(pools: Sequence[Sequence[Placed]], machines: Sequence[Node]) -> list[Ask]:
    """One worker of each pool: all pools run at once, on any node that may be the last one left."""
    cores = [node.get("CPU", 0.0) for node in machines]
    smallest = min((count for count in cores if count), default=1.0)
    asks = []
    for pool in pools:
        first, names = pool[0], ", ".join(placed.step.name for placed in pool)
        # More than any node has is refused, unless the machine is this one, which has what it has.
        asked = first.cpus > max(cores, default=0.0) and not is_ours()
        asks.append(Ask(
            f"preprocessing ({names})", 1,
            first.cpus if asked else min(first.cpus, smallest / len(pools)), first.gpus,
            smaller="give the step fewer cpus or gpus where the recipe places it",
            without="give the step gpus=0 where the recipe places it",
        ))  # fmt: skip
    return asks
