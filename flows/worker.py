"""``python -m flows.worker``: a Prefect process worker that takes up what died with the last one.

Prefect leaves a flow run whose process was killed in the state Running for ever. A process can be
seen to be gone only on its own machine: so a worker bears the machine's name, there is one of it at
a time, and when it starts it hands the runs of its dead predecessor out again. Each task goes on
where it stopped. A run whose process outlived its worker is left alone: it ends by itself.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Scheduled

from core.errors import InputError
from infra.settings import quiet

POOL = "local"
RUN_ID = "PREFECT__FLOW_RUN_ID"
"""Variable of a flow run's process and of all that it starts."""
RUNNER = "/prefect/runner/"
"""Where the scripts of Prefect lie that prepare a run and then become ``prefect.engine``."""
ENDED_BADLY = (StateType.PENDING, StateType.RUNNING, StateType.CRASHED)
STOPPED = "Execution was aborted by a termination signal."
"""What Prefect says of a run that was asked to end, as all are when a machine is shut down."""
WORKER = "prefect.worker.name"
"""Label that a worker gives the runs it takes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Hands out again what died here, then becomes the worker."""
    quiet()
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description=__doc__)
    parser.add_argument("--pool", default=POOL, help="work pool, made when it is missing")
    parser.add_argument("--name", default=platform.node(), help="default: this machine's name")
    parser.add_argument(
        "--gone", metavar="NAME",
        help="hand out again what worker NAME had, whose machine will not come back, and end",
    )  # fmt: skip
    parsed = parser.parse_args(arguments)
    try:
        lock = None if parsed.gone else alone(parsed.name)
        with get_client(sync_client=True) as client:
            for run in hand_out(client, parsed.pool, parsed.gone or parsed.name, bool(parsed.gone)):
                sys.stderr.write(f"{run.name} is handed out again\n")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if lock is None:
        return 0
    os.set_inheritable(lock, True)
    command = ["-m", "prefect", "worker", "start", "--pool", parsed.pool, "--type", "process"]
    os.execv(sys.executable, [sys.executable, *command, "--name", parsed.name])


def alone(name: str) -> int:
    """Holds the worker's name on this machine until the process ends; gives the file's number.

    Raises:
        InputError: another worker of that name runs here.
    """
    path = Path(tempfile.gettempdir()) / f"flashlips-worker-{os.getuid()}-{name}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise InputError(
            f"a worker {name} runs on this machine: end it, or give this one another --name"
        ) from None
    return file


def hand_out(
    client: SyncPrefectClient, pool: str, worker: str, elsewhere: bool = False
) -> list[FlowRun]:
    """Schedules the runs that a dead worker had, as far as their processes are dead too.

    Also those that were asked to end with it. Others that crashed would crash again.

    Args:
        client: of Prefect's server.
        pool: work pool.
        worker: its name.
        elsewhere: it ran on a machine that is gone, so that none of its processes lives.
    """
    alive = set() if elsewhere else living()
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(ENDED_BADLY)))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    dead = [
        run
        for run in runs
        if run.labels.get(WORKER) == worker
        and str(run.id) not in alive
        and run.state is not None
        and (run.state.type != StateType.CRASHED or run.state.message == STOPPED)
    ]
    for run in dead:
        said = f"its process ended with worker {worker}; it goes on from there"
        state: State[Any] = Scheduled(message=said)
        client.set_flow_run_state(run.id, state, force=True)
    return dead


def living() -> set[str]:
    """Ids of the flow runs whose own process lives on this machine.

    What such a process started bears its id too and may outlive it for seconds; only Prefect's
    process counts.
    """
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(w.startswith("prefect.") or RUNNER in w for w in process.cmdline()[1:5]):
                found.add(process.environ().get(RUN_ID, ""))
    return found - {""}


if __name__ == "__main__":
    sys.exit(main())
