"""A Prefect worker that dies while it runs a deployment: the flow's outputs are as undisturbed."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.chaos.harness import Moment, Note
from tests.flows.test_deployments import CLIPS, calm, client, contents, raw, team, until
from tests.preprocessing.conftest import cheap, video

__all__ = ["calm", "cheap", "client", "raw", "team", "video"]


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.timeout(3600)
@pytest.mark.cell("prefect", "worker in mid-flow")
def test_worker(team, client, raw, calm, moment: Moment, note: Note, tmp_path):
    """Killed with the flow, killed alone, or asked to end with all that it started."""
    out, n = tmp_path / "out", moment.rng.randrange(1, CLIPS - 2)
    what = moment.one_of("both", "worker", "asked")
    note.how = {
        "both": "SIGKILL of worker and flow", "worker": "SIGKILL of the worker alone",
        "asked": "SIGTERM",
    }[what]  # fmt: skip
    note.when = f"{n} of {CLIPS + 1} clips were noted"
    run = team.run(raw, out)
    until(lambda: len(list(out.glob(".work/*/[!.]*.json"))) >= n)
    flow = client.read_flow_run(run).infrastructure_pid
    assert not (out / "manifest.json").exists(), "it ended before it was killed"
    if what == "asked":
        team.worker.stop()
    else:
        os.kill(team.worker.pid, signal.SIGKILL)
    if what == "both":
        psutil.Process(int(flow)).kill()
    until(lambda: not team.worker.pid)
    team.worker.start()
    ended = team.ended(client, run)
    assert ended.state.is_completed(), ended.state
    assert ended.run_count == (1 if what == "worker" else 2)
    assert contents(out) == calm
    note.what = "the flow went on" if what == "worker" else "completed by the next worker"
