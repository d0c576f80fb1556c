"""Trackers: where a run's numbers and files go, and how runs are named. MLflow is imported late.

Tracking never stops training and loses nothing: everything goes to an outbox on disk first
(``infra/spool.py``) and from there to MLflow in the background (``infra/mlflow_sender.py``).
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts import Numbers
from core.errors import InputError
from infra.addresses import hidden
from infra.mlflow_client import connect, load
from infra.mlflow_sender import KEY, Background, Sender, send_left
from infra.revision import git_commit
from infra.settings import VARIABLES, Settings
from infra.spool import Op, Outbox
from infra.trackers import NullTracker, Status, clean, flatten

__all__ = [
    "MlflowTracker", "NullTracker", "RunRef", "attach", "id_of", "open_tracker", "send_spooled",
]  # fmt: skip

LOG = logging.getLogger(__name__)
EXPERIMENT = "flashlips"
LONGEST_PARAM = 6000  # MLflow cuts nothing by itself: it refuses longer ones


@dataclass(frozen=True)
class RunRef:
    """A run by reference: strings only, so that it may travel between tasks and workers.

    Attributes:
        uri: MLflow's address.
        key: of the run, as its tag ``flashlips.key`` says; known before MLflow answers.
        spool: folder of outboxes.
        experiment: group of runs; children are in their parent's.
    """

    uri: str
    key: str
    spool: str
    experiment: str = EXPERIMENT


class MlflowTracker(NullTracker):
    """A run in MLflow. Make it with ``open_tracker``, or with ``attach`` on another worker.

    Every method returns at once; ``flush`` and ``close`` alone wait for MLflow, and only while it
    takes what it is sent.

    Args:
        ref: the run.
        outbox: where what it is told goes first.
        sender: what takes it on.
        background: ended with this run; None for a child, which shares its parent's.
    """

    def __init__(
        self, ref: RunRef, outbox: Outbox, sender: Sender, background: Background | None = None
    ) -> None:
        self.ref = ref
        self._outbox, self._sender, self._background = outbox, sender, background
        self._warned = False

    @property
    def run_id(self) -> str:
        """MLflow's id of the run; "" until it has answered."""
        return self._sender.runs.get(self.ref.key, "")

    def params(self, values: Mapping[str, Any]) -> None:
        """Logs each leaf as a parameter, and the whole as ``recipe.json``."""
        leaves = {clean(k): str(v)[:LONGEST_PARAM] for k, v in flatten(values).items()}
        self._add("params", values=leaves)
        self.text(json.dumps(values, indent=2, sort_keys=True, default=str), "recipe.json")

    def tags(self, values: Mapping[str, str]) -> None:
        """Sets tags."""
        self._add("tags", values={name: str(value) for name, value in values.items()})

    def metrics(self, values: Numbers, step: int) -> None:
        """Logs numbers, with this moment's time."""
        at = _now()
        self._add("metrics", rows=[[clean(k), float(v), at, step] for k, v in values.items()])

    def artifact(self, path: Path, folder: str = "") -> None:
        """Uploads a file as it is now."""
        self._kept(lambda: self._add("artifact", file=self._outbox.add_file(path), folder=folder))

    def child(self, name: str, tags: Mapping[str, str] | None = None) -> MlflowTracker:
        """A child run."""
        ref = _ref(self.ref.uri, self.ref.spool, experiment=self.ref.experiment)
        run = MlflowTracker(ref, self._outbox, self._sender)
        run._start(name, tags or {}, parent=self.ref.key)
        return run

    def flush(self) -> None:
        """Sends what is there, unless MLflow doesn't answer."""
        self._sender.drain()

    def close(self, status: Status = "FINISHED") -> None:
        """Ends the run and sends what is left; what MLflow doesn't take is sent another time."""
        self._add("end", status=status, at=_now())
        self.leave()

    def leave(self) -> None:
        """Sends what is left without ending the run; a child's outbox stays its parent's."""
        if self._background is None:
            self.flush()
            return
        self._background.stop()
        why = self._sender.drain()
        if why:
            LOG.warning(
                "tracking at %s: %s; what is left in %s is sent by the next run, or by "
                "'flashlips tracking send'", hidden(self.ref.uri), why, self._outbox.folder,
            )  # fmt: skip
        self._outbox.close()

    def _start(self, name: str, tags: Mapping[str, str], **more: Any) -> None:
        usual = {"experiment": self.ref.experiment, "place": None, "parent": "", "join": False}
        self._add("start", **{"name": name, "tags": dict(tags), "at": _now(), **usual, **more})

    def _add(self, kind: str, **values: Any) -> None:
        op: Op = {"op": kind, "run": self.ref.key, **values}
        self._kept(lambda: self._outbox.add(op))

    def _kept(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:  # tracking must never stop training
            if not self._warned:
                LOG.warning("tracking can't write to %s: %s", self._outbox.folder, error)
            self._warned = True


def open_tracker(
    settings: Settings,
    name: str,
    tags: Mapping[str, str] | None = None,
    experiment: str = EXPERIMENT,
    resume: str = "",
) -> NullTracker:
    """Opens a run in MLflow, which need not answer yet.

    Args:
        settings: where to.
        name: of the run.
        tags: see ``run_tags``.
        experiment: group of runs.
        resume: key (``RunRef.key``) of a run to go on with; made anew when MLflow has it no more.

    Raises:
        InputError: what is tracked would be deleted with the Ray job that tracks it.
    """
    if settings.fleeting:
        raise InputError(
            f"{VARIABLES['runs']}={settings.runs} lies in this job's own folder, which is deleted "
            "with the job, and so would be what it tracks: name a folder that stays, where you "
            "submit from or on the cluster's nodes"
        )
    ref = _ref(settings.mlflow_uri, str(_spool(settings.runs)), resume, experiment)
    run = _opened(ref)
    if isinstance(run, MlflowTracker):
        # A server knows its own place for artifacts; the local database is told ours.
        place = None if settings.tracking else settings.artifacts.as_uri()
        run._start(name, tags or {}, place=place)
    return run


def attach(ref: RunRef) -> NullTracker:
    """The same run on another process."""
    run = _opened(ref)
    if isinstance(run, MlflowTracker):
        run._start("", {}, join=True)
    return run


def send_spooled(settings: Settings, everything: bool = False) -> Iterator[tuple[Path, str]]:
    """Sends what ended processes left in ``settings.runs``.

    Args:
        settings: where from and where to.
        everything: also what was meant for another address, which may have been mistyped.

    Yields:
        Each outbox with "" when it was sent, or with the reason why it stays.
    """
    client = _client(settings.mlflow_uri, settings.runs)
    address = "" if everything else settings.mlflow_uri
    return send_left(_spool(settings.runs), client, address)


def id_of(settings: Settings, key: str, experiment: str = EXPERIMENT) -> str:
    """MLflow's id of a run by its key; "" while MLflow does not have it.

    Raises:
        Exception: MLflow does not answer.
    """
    client = connect(settings.mlflow_uri, settings.runs)
    group = client.get_experiment_by_name(experiment)
    if group is None:
        return ""
    found = client.search_runs([group.experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)
    return str(found[0].info.run_id) if found else ""


def run_tags(system: str, stage: str, recipe_sha: str, data: str = "") -> dict[str, str]:
    """What every run carries; ``data`` is the manifest's hash; adds the code's commit."""
    return {
        "system": system,
        "stage": stage,
        "recipe_sha": recipe_sha,
        "data": data,
        "commit": git_commit(),
    }


def _opened(ref: RunRef) -> NullTracker:
    spool = Path(ref.spool)
    client = _client(ref.uri, spool.parent)

    def clear() -> str:
        return next((why for _, why in send_left(spool, client, ref.uri) if why), "")

    load()
    try:
        outbox = Outbox.create(spool, ref.uri)
    except OSError as error:
        LOG.warning("no tracking: %s can't be written (%s)", spool, error.strerror)
        return NullTracker()
    sender = Sender(outbox, client, clear)
    return MlflowTracker(ref, outbox, sender, Background(sender, ref.uri))


def _client(uri: str, runs: Path) -> Callable[[], Any]:
    return lambda: connect(uri, runs)


def _spool(runs: Path) -> Path:
    return (runs / "tracking").resolve()


def _ref(uri: str, spool: str, key: str = "", experiment: str = EXPERIMENT) -> RunRef:
    return RunRef(uri, key or uuid.uuid4().hex, spool, experiment)


def _now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
