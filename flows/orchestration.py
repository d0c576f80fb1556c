"""What all flows share of Prefect: failures as sentences, results by content, retries, GPUs."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.concurrency.sync import concurrency
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from core.errors import InputError
from core.storage import Place
from infra.settings import settings

P = ParamSpec("P")
T = TypeVar("T")
Reference = dict[str, str]
"""A finished output: ``path`` of the file that was written last, and its ``sha256``."""

GPU = "gpu"
"""Name of the global concurrency limit: ``prefect gcl create gpu --limit N``."""
LEASE_S = 120.0
"""A killed run's GPU is free again after so long."""


class OneSentence(logging.Filter):
    """Lets an ``InputError`` into the log as its sentence: a traceback helps nobody mend input."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps every record; takes the traceback from some."""
        if record.exc_info and isinstance(record.exc_info[1], InputError):
            record.exc_info = None
        return True


def plainly(function: Callable[P, T]) -> Callable[P, T]:
    """A flow's function whose ``InputError`` ends the run as failed, with just its sentence.

    Who calls the flow in a process of their own still gets the error raised.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in ("prefect.flow_runs", "prefect.task_runs"):
            log = logging.getLogger(name)
            if not any(isinstance(f, OneSentence) for f in log.filters):
                log.addFilter(OneSentence())
        try:
            return function(*args, **kwargs)
        except InputError as error:
            return Failed(data=error, message=str(error))  # type: ignore[return-value]

    # Prefect would look for the types' names where this function stands.
    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    run.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return run


def lost_connection(task: Any, run: Any, state: Any) -> bool:
    """Whether a task failed because something beyond a wire did not answer: worth another try.

    What a person must mend (``InputError``), and errors of our own, fail the same way again.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, ConnectionError | TimeoutError) and not isinstance(error, InputError)


def by_key(context: Any, given: dict[str, Any]) -> str:
    """A task's cache key is its argument ``key``: see ``key_of``."""
    return str(given["key"])


SAFE: dict[str, Any] = {
    "cache_key_fn": by_key,
    "persist_result": True,
    "result_serializer": "json",
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=10),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": lost_connection,
}
"""Options of tasks that go on where they stopped, so that doing them again is safe: preprocessing
keeps finished clips, training its states, evaluation its videos. The first retry comes after some
10 s, then 20 and 40: as long as a Ray head takes to come back. Storage waits by itself."""


def key_of(*parts: Any) -> str:
    """A cache key of plain values: hashes of recipe and data, and where the output lies."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def reference(path: Place) -> Reference:
    """Names a finished output by the file that is written last: a manifest, a card, scores."""
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def stands(made: Reference) -> bool:
    """Whether the output is still what it was when it was made."""
    path = settings().place(made["path"])
    return path.exists() and reference(path)["sha256"] == made["sha256"]


def once(task: Task[..., Reference], *args: Any) -> Place:
    """A task's output: the cached one while it is there unchanged, else made (again)."""
    made = task(*args)
    if not stands(made):
        made = task.with_options(refresh_cache=True)(*args)
    return settings().place(made["path"])


@contextmanager
def gpu(engine: str = "local") -> Iterator[None]:
    """Holds as many of the limit ``gpu`` as a job uses of this machine's GPUs; none, no wait.

    Where nobody made the limit nothing is held either. Clusters queue by themselves.
    """
    import torch

    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not here or (engine == "ray" and settings().cluster):
        yield
        return
    count = min(here, settings().workers) if engine == "ray" else 1
    with concurrency(GPU, occupy=count, lease_duration=LEASE_S):
        yield
