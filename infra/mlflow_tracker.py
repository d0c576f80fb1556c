"""Trackers: where a run's numbers and files go. Only here is MLflow imported, and late.

Tracking never stops training: what MLflow refuses is logged once, kept in a JSONL file beside the
run, and given again as soon as MLflow answers.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts import Numbers
from infra.settings import REPO, Settings, quiet
from infra.trackers import JsonlTracker, NullTracker, Status, append, clean, flatten

__all__ = ["JsonlTracker", "MlflowTracker", "NullTracker", "RunRef", "attach", "open_tracker"]

LOG = logging.getLogger(__name__)
EXPERIMENT = "flashlips"

BATCH = 500  # MLflow refuses more than 1000 metrics a call
FLUSH_S = 5.0  # a call costs some 10 ms: seldom enough to be free, often enough to watch
RETRY_S = 60.0  # an unreachable server holds a call for minutes, so don't ask it at every step


@dataclass(frozen=True)
class RunRef:
    """A run by reference: strings only, so that it may travel between tasks and workers."""

    uri: str
    run_id: str
    spool: str


class MlflowTracker(NullTracker):
    """A run in MLflow. Make it with ``open_tracker``, or with ``attach`` on another worker.

    Args:
        ref: the run. client: an ``MlflowClient`` of its address.
    """

    def __init__(self, ref: RunRef, client: Any) -> None:
        self.ref = ref
        self.run_id = ref.run_id
        self._client = client
        self._pending: list[tuple[str, float, int, int]] = []  # name, value, ms since 1970, step
        self._spooled = 0  # how many of the pending ones are in the spool file
        self._last = time.monotonic()
        self._failed_at = -math.inf

    def params(self, values: Mapping[str, Any]) -> None:
        """Logs each leaf as a parameter, and the whole as ``recipe.json``."""
        from mlflow.entities import Param

        # MLflow cuts nothing by itself: it refuses values of more than 6000 characters.
        leaves = [Param(clean(k), str(v)[:6000]) for k, v in flatten(values).items()]
        for start in range(0, len(leaves), 100):
            part = leaves[start : start + 100]
            self._try(self._client.log_batch, self.run_id, params=part)
        self.text(json.dumps(values, indent=2, sort_keys=True, default=str), "recipe.json")

    def tags(self, values: Mapping[str, str]) -> None:
        """Sets tags."""
        for name, value in values.items():
            self._try(self._client.set_tag, self.run_id, name, value)

    def metrics(self, values: Numbers, step: int) -> None:
        """Buffers numbers; they leave in batches."""
        now = int(time.time() * 1000)
        self._pending += [(clean(k), float(v), now, step) for k, v in values.items()]
        due = time.monotonic() - self._last > FLUSH_S
        if due or len(self._pending) - self._spooled >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Sends buffered numbers, or spools them when MLflow doesn't answer."""
        from mlflow.entities import Metric

        self._last = time.monotonic()
        while self._pending:
            part = [Metric(*row) for row in self._pending[:BATCH]]
            if not self._try(self._client.log_batch, self.run_id, metrics=part):
                self._spool()
                return
            del self._pending[:BATCH]
            self._spooled = max(0, self._spooled - BATCH)
        Path(self.ref.spool).unlink(missing_ok=True)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Uploads or copies a file."""
        self._try(self._client.log_artifact, self.run_id, str(path), folder or None)

    def child(self, name: str, tags: Mapping[str, str] | None = None) -> NullTracker:
        """A child run; falls back to files beside the spool when MLflow doesn't answer."""
        made: list[NullTracker] = []

        def make() -> None:
            parent = self._client.get_run(self.run_id)
            made.append(
                _start(
                    self._client,
                    self.ref.uri,
                    parent.info.experiment_id,
                    name,
                    {**(tags or {}), "mlflow.parentRunId": self.run_id},
                    Path(self.ref.spool).parent,
                )
            )

        if self._try(make):
            return made[0]
        return JsonlTracker(Path(self.ref.spool).parent / self.run_id).child(name, tags)

    def close(self, status: Status = "FINISHED") -> None:
        """Sends what is left and sets the run's status."""
        self._failed_at = -math.inf  # the last chance: ask even if it has just refused
        self.flush()
        self._try(self._client.set_terminated, self.run_id, status)

    def _spool(self) -> None:
        for name, value, _, step in self._pending[self._spooled :]:
            append(Path(self.ref.spool), {name: value}, step)
        self._spooled = len(self._pending)

    def _try(self, action: Callable[..., Any], *args: Any, **named: Any) -> bool:
        if time.monotonic() - self._failed_at < RETRY_S:
            return False
        try:
            action(*args, **named)
        except Exception as error:  # noqa: BLE001 - tracking must never stop training
            if self._failed_at == -math.inf:
                LOG.warning(
                    "tracking at %s failed (%s); numbers go to %s until it answers",
                    self.ref.uri, str(error).splitlines()[:1], self.ref.spool,
                )  # fmt: skip
            self._failed_at = time.monotonic()
            return False
        return True


def open_tracker(
    settings: Settings,
    name: str,
    tags: Mapping[str, str] | None = None,
    experiment: str = EXPERIMENT,
    resume: str = "",
) -> NullTracker:
    """Opens a run in MLflow, or in plain files when MLflow is absent or doesn't answer.

    Args:
        settings: where to.
        name: of the run.
        tags: see ``run_tags``.
        experiment: group of runs.
        resume: id of a run to go on with, when it still exists.
    """
    spool = settings.runs / "tracking"
    try:
        client = _client(settings.mlflow_uri, settings.runs)
        if resume:
            found = _found(client, resume)
            if found:
                client.update_run(resume, status="RUNNING")
                return MlflowTracker(_ref(settings.mlflow_uri, resume, spool), client)
        group = client.get_experiment_by_name(experiment)
        # A server knows its own place for artifacts; the local database is told ours.
        place = None if settings.tracking else settings.artifacts.as_uri()
        group_id = group.experiment_id if group else client.create_experiment(experiment, place)
        return _start(client, settings.mlflow_uri, group_id, name, tags or {}, spool)
    except Exception as error:  # noqa: BLE001 - tracking must never stop training
        LOG.warning(
            "no tracking at %s (%s); numbers go to %s",
            settings.mlflow_uri, str(error).splitlines()[:1], spool,
        )  # fmt: skip
    run = JsonlTracker(spool / (resume or f"{clean(name).replace('/', '_')}-{int(time.time())}"))
    run.tags(tags or {})
    return run


def attach(ref: RunRef) -> MlflowTracker:
    """The same run on another process."""
    return MlflowTracker(ref, _client(ref.uri, Path(ref.spool).parent))


def run_tags(system: str, stage: str, recipe_sha: str, data: str = "") -> dict[str, str]:
    """What every run carries; ``data`` is the manifest's hash; adds the checkout's commit."""
    return {
        "system": system,
        "stage": stage,
        "recipe_sha": recipe_sha,
        "data": data,
        "commit": git_commit(),
    }


def git_commit() -> str:
    """The checkout's commit, with ``+`` when files differ from it, "" outside a checkout."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(REPO), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _client(uri: str, runs: Path) -> Any:
    quiet()
    from mlflow import MlflowClient

    if uri.startswith("sqlite:"):
        runs.mkdir(parents=True, exist_ok=True)  # sqlite makes files, not folders
    return MlflowClient(tracking_uri=uri)


def _start(
    client: Any, uri: str, group: str, name: str, tags: Mapping[str, str], spool: Path
) -> MlflowTracker:
    run = client.create_run(group, run_name=name, tags=dict(tags))
    return MlflowTracker(_ref(uri, run.info.run_id, spool), client)


def _ref(uri: str, run_id: str, spool: Path) -> RunRef:
    return RunRef(uri, run_id, str((spool / f"{run_id}.jsonl").resolve()))


def _found(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_run(run_id)
    except MlflowException:
        return False
    return True
