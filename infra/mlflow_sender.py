"""Sends what trackers put into an outbox to MLflow: in order, each until it is acknowledged.

After a time-out nobody knows whether MLflow took an operation, so each can be sent twice without
harm: a run is found again by its key, MLflow's stores keep identical rows of numbers once (key,
value, time and step are their primary key), and the rest is set, not added.
"""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.addresses import hidden
from infra.mlflow_client import Refused, is_final, one_line
from infra.spool import Op, Outbox, left

LOG = logging.getLogger(__name__)

KEY = "flashlips.key"
"""Tag that a run is found again by; given here, because MLflow's id exists only once it answers."""
ROWS = 500  # MLflow refuses more than 1000 numbers a call
PARAMS = 100  # and more than 100 parameters
EVERY_S = 5.0  # a call costs some 10 ms: seldom enough to be free, often enough to watch
AGAIN_S = 15.0


class Sender:
    """Empties one outbox.

    Args:
        outbox: what to send.
        client: gives an ``MlflowClient``; asked again for as long as it raises.
        clear: sends what earlier processes left, before the first of ours; says why it could not.
    """

    def __init__(
        self, outbox: Outbox, client: Callable[[], Any], clear: Callable[[], str] = lambda: ""
    ) -> None:
        self._outbox, self._make, self._clear = outbox, client, clear
        self.runs: dict[str, str] = dict(outbox.state["memory"])  # MLflow's id by key
        self._client: Any = None
        self._cleared = False
        self._mutex = threading.Lock()

    def drain(self) -> str:
        """Sends all there is; "" when that worked, otherwise why not."""
        with self._mutex:
            try:
                self._client = self._client or self._make()
                self._cleared = self._cleared or not self._clear()
                for op, end in merged(self._outbox.pending()):
                    self._send(op)
                    self._outbox.done(end, self.runs)
                    if op["op"] == "artifact":
                        self._outbox.drop_file(op["file"])
            except Exception as error:  # noqa: BLE001 - tracking must never stop training
                return one_line(error)
            return ""

    def _send(self, op: Op) -> None:
        try:
            getattr(self, f"_{op['op']}")(op)
        except Exception as error:
            if not is_final(error):
                raise
            LOG.warning("tracking: %s of a run was refused: %s", op["op"], one_line(error))
            self._outbox.refuse(op, one_line(error))

    def _start(self, op: Op) -> None:
        with _alone(self._outbox.folder.parent):
            found = self._find(op)
            if found is not None:
                run_id = found.info.run_id
                # What this tells may be older than an end that another process told.
                if op["at"] >= (found.info.end_time or 0):
                    self._client.update_run(run_id, status="RUNNING")
                for name, value in op["tags"].items():
                    self._client.set_tag(run_id, name, value)
            elif op["join"]:
                raise ConnectionError(f"the process that began run {op['run']} has not sent it yet")
            else:
                tags = {**op["tags"], KEY: op["run"]}
                if op["parent"]:
                    tags["mlflow.parentRunId"] = self._id(op["parent"])
                made = self._client.create_run(
                    self._group(op), start_time=op["at"], run_name=op["name"], tags=tags
                )
                run_id = made.info.run_id
        self.runs[op["run"]] = run_id

    def _find(self, op: Op) -> Any:
        """A run by its key, which may be MLflow's id itself; None when there is none."""
        group = self._client.get_experiment_by_name(op["experiment"])
        if group is None:
            return None
        where = f"tags.`{KEY}` = '{op['run']}'"
        found = self._client.search_runs([group.experiment_id], where, max_results=1)
        if found:
            return found[0]
        try:
            return self._client.get_run(op["run"])
        except Exception as error:
            if not is_final(error):
                raise
            return None

    def _group(self, op: Op) -> str:
        group = self._client.get_experiment_by_name(op["experiment"])
        if group is not None:
            return str(group.experiment_id)
        return str(self._client.create_experiment(op["experiment"], op["place"]))

    def _id(self, key: str) -> str:
        if key not in self.runs:
            raise Refused(f"run {key} was refused")
        return self.runs[key]

    def _params(self, op: Op) -> None:
        from mlflow.entities import Param

        rows = [Param(name, value) for name, value in op["values"].items()]
        run_id = self._id(op["run"])
        for start in range(0, len(rows), PARAMS):
            self._client.log_batch(run_id, params=rows[start : start + PARAMS])

    def _tags(self, op: Op) -> None:
        for name, value in op["values"].items():
            self._client.set_tag(self._id(op["run"]), name, value)

    def _metrics(self, op: Op) -> None:
        from mlflow.entities import Metric

        rows, run_id = [Metric(*row) for row in op["rows"]], self._id(op["run"])
        for start in range(0, len(rows), ROWS):
            self._client.log_batch(run_id, metrics=rows[start : start + ROWS])

    def _artifact(self, op: Op) -> None:
        file = str(self._outbox.folder / op["file"])
        self._client.log_artifact(self._id(op["run"]), file, op["folder"] or None)

    def _end(self, op: Op) -> None:
        self._client.set_terminated(self._id(op["run"]), op["status"], end_time=op["at"])


class Background:
    """A thread that empties an outbox every few seconds: training never waits for MLflow."""

    def __init__(self, sender: Sender, address: str) -> None:
        self._sender, self._address, self._stopped = sender, address, threading.Event()
        # A daemon: what it leaves at the process's end is on disk, and the next one sends it.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        why, pause = "", 0.0
        while not self._stopped.wait(pause):
            before, why = why, self._sender.drain()
            pause = AGAIN_S if why else EVERY_S
            if why and not before:
                LOG.warning("tracking at %s: %s; trying again", hidden(self._address), why)

    def stop(self) -> None:
        """No more turns; one that is under way is not waited for."""
        self._stopped.set()


def send_left(
    root: Path, client: Callable[[], Any], address: str = ""
) -> Iterator[tuple[Path, str]]:
    """Sends what ended processes left below ``root``; each outbox with "" or why it stays.

    Args:
        root: folder of outboxes.
        client: gives an ``MlflowClient``.
        address: only what was meant for this one; "" for all.
    """
    for box in left(root):
        if address not in ("", box.state["address"]):
            continue
        _bury(box)
        if next(box.pending(), None) is not None:
            yield box.folder, Sender(box, client).drain()


def _bury(box: Outbox) -> None:
    """Ends the child runs of a process that died; a parent may go on in the next process."""
    at = int((box.folder / "ops.jsonl").stat().st_mtime * 1000)
    alive: set[str] = set()
    for op, _ in box.pending(everything=True):
        if op["op"] == "start" and op["parent"]:
            alive.add(op["run"])
        if op["op"] == "end":
            alive.discard(op["run"])
    for key in sorted(alive):
        box.add({"op": "end", "run": key, "status": "KILLED", "at": at})


def merged(ops: Iterable[tuple[Op, int]]) -> Iterator[tuple[Op, int]]:
    """The same, with neighbouring numbers of a run put together into fewer calls."""
    last: tuple[Op, int] | None = None
    for op, end in ops:
        if last is not None:
            before = last[0]
            alike = before["op"] == op["op"] == "metrics" and before["run"] == op["run"]
            if alike and len(before["rows"]) + len(op["rows"]) <= ROWS:
                last = {**before, "rows": before["rows"] + op["rows"]}, end
                continue
            yield last
        last = op, end
    if last is not None:
        yield last


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One process at a time looks for a run and makes it: two would make two."""
    with (root / ".start").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
