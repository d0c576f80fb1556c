"""Measuring on Ray: each worker reads its own videos; rows are merged as if measured in one pass.

The only file of evaluation that imports ray.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import ray
from ray.exceptions import RayActorError
from ray.util import ActorPool

from core.errors import InputError
from evaluation.benchmarks.pairs import Pair
from evaluation.scores import Scores
from evaluation.video_run import Progress, chained, measure_pair
from evaluation.videos import Reader, VideoMetric
from infra.placement import Ask
from infra.ray_cluster import cluster, room

Tools = Callable[[], tuple[Reader, Sequence[VideoMetric]]]
"""Makes what a worker measures with; called on the worker."""

RUN = 4
"""Neighbouring pairs that one worker measures, for they share videos."""

AGAIN = 2
"""How often a worker that died is started again; it measures its neighbours anew."""


class _Worker:
    """One process with its own nets."""

    def __init__(self, tools: Tools) -> None:
        cv2.setNumThreads(1)  # a core each; more would wait for the neighbours'
        self._reader, self._metrics = tools()

    def measure(
        self, pairs: Sequence[Pair], videos: Path, system: str, players: Path | None
    ) -> tuple[Any, Any]:
        """Rows and failures of neighbours."""
        parts = [
            measure_pair(pair, videos, system, self._metrics, self._reader, players)
            for pair in pairs
        ]
        found = Scores({}).merged(*parts)
        return found.rows, found.failures


def measure(
    pairs: Sequence[Pair],
    videos: Path,
    system: str,
    tools: Tools,
    workers: int,
    progress: Progress = lambda what, done, total: None,
    players: Path | None = None,
) -> Scores:
    """As ``evaluation.video_run.measure``, by several workers.

    Args:
        pairs: of the benchmark.
        videos: folder of the edited videos, which every node can read.
        system: who made them.
        tools: makes reader and metrics.
        workers: how many, one core each.
        progress: told after each few pairs.
        players: as there; a folder that every node can write.

    Raises:
        InputError: Ray has no room for so many workers, or one died again and again.
    """
    metrics = {m.name: m for m in tools()[1]}
    scores = Scores(metrics, pairs=tuple(sorted(p.name for p in pairs)))
    if not pairs:
        return scores
    rows: dict[tuple[str, str], Any] = {}
    failures: dict[str, str] = {}
    with cluster():
        ask = Ask(
            "evaluation", min(workers, len(pairs)), 1.0, fewer="set FLASHLIPS_WORKERS to so many"
        )
        room(lambda machines: [ask])
        kind = ray.remote(num_cpus=1, max_restarts=AGAIN, max_task_retries=AGAIN)(_Worker)
        pool = ActorPool([kind.remote(tools) for _ in range(ask.workers)])
        order, rest = chained(pairs), (Path(videos).resolve(), system, players)
        given = [order[i : i + RUN] for i in range(0, len(order), RUN)]
        done = pool.map_unordered(lambda actor, some: actor.measure.remote(some, *rest), given)
        try:
            for found, failed in done:
                rows.update(found)
                failures.update(failed)
                seen = {name for _, name in rows} | {name.partition(".")[0] for name in failures}
                progress("", len(seen), len(pairs))
        except RayActorError as error:
            raise InputError(
                f"a worker that measures died {AGAIN + 1} times, as when memory runs out: set "
                "FLASHLIPS_WORKERS to fewer and run the same command again"
            ) from error
    return scores.merged(Scores(metrics, rows, failures))
