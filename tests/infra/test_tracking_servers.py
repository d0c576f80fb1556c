"""A training run whose MLflow server dies, in a process that may die too: nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli import main
from infra.mlflow_client import connect
from infra.mlflow_sender import KEY
from infra.settings import Settings
from tests.infra.team import serving
from tests.infra.test_registry import walk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STEPS = 200
RUN = """
import sys, time
from pathlib import Path
from infra.mlflow_tracker import open_tracker, run_tags
from infra.settings import settings
flags, end = Path(sys.argv[1]), sys.argv[2]

def wait(name):
    (flags / f"at-{name}").touch()
    while not (flags / f"go-{name}").exists():
        time.sleep(0.05)

def note(text):
    (flags / "note.txt").write_text(text)
    run.artifact(flags / "note.txt", text)

if end == "never up":
    wait("outage")
parent = open_tracker(settings(), "chain", {"key of test": end})
run = parent.child("stage", run_tags("flashlips", "stage", "abc", "def"))
run.params({"steps": 200})
note("before")
for step in range(200):
    if step == 100 and end != "never up":
        run.flush()
        wait("outage")
    run.metrics({"loss": 1.0 / (step + 1), "lr": float(step)}, step)
run.tags({"late": "yes"})
note("after")
if end == "kill":
    wait("kill")
run.close()
parent.close()
print("DONE")
"""


@pytest.fixture(scope="module")
def mlflow():
    with serving() as process:
        yield process


def reached(path: Path, run: subprocess.Popen) -> None:
    end = time.monotonic() + 150
    while not path.exists():
        assert run.poll() is None, "the run ended early"
        assert time.monotonic() < end, f"{path.name} was not reached"
        time.sleep(0.05)


def test_registered_models_on_a_server(mlflow, tmp_path):
    walk(Settings(runs=tmp_path / "runs", tracking=mlflow.service.address), tmp_path)


@pytest.mark.parametrize("end", ["close", "kill", "never up"])
def test_the_server_is_killed_in_mid_run(end, mlflow, tmp_path, monkeypatch):
    """With the run closed while it is away, killed itself, or begun when it was away already."""
    flags = tmp_path / "flags"
    flags.mkdir()
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FLASHLIPS_MLFLOW_URI", mlflow.service.address)
    run = subprocess.Popen([sys.executable, "-c", RUN, str(flags), end])
    try:
        reached(flags / "at-outage", run)
        mlflow.stop(at_once=True)
        (flags / "go-outage").touch()
        if end == "kill":
            reached(flags / "at-kill", run)
            time.sleep(1)
            run.send_signal(signal.SIGKILL)
        assert run.wait(timeout=150) == (-signal.SIGKILL if end == "kill" else 0)
        assert list((tmp_path / "runs" / "tracking").glob("[!.]*/ops.jsonl"))

        assert main(["tracking", "send"]) == 1
    finally:
        run.kill()
        run.wait()
        mlflow.start()
    for _ in range(2):  # the second has nothing left to send
        assert main(["tracking", "send"]) == 0
    assert not list((tmp_path / "runs" / "tracking").glob("[!.]*/ops.jsonl"))

    client = connect(mlflow.service.address, tmp_path)
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`key of test` = '{end}'")
    below = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    (stage,) = client.search_runs([experiment], below)
    run_id = stage.info.run_id
    for name, value in {"loss": lambda s: 1.0 / (s + 1), "lr": float}.items():
        history = client.get_metric_history(run_id, name)
        assert [(m.step, m.value) for m in history] == [(s, value(s)) for s in range(STEPS)]
    assert stage.data.params == {"steps": "200"}
    assert stage.data.tags["late"] == "yes"
    assert stage.data.tags["recipe_sha"] == "abc"
    assert len(stage.data.tags[KEY]) == 32
    for text in ("before", "after"):
        file = client.download_artifacts(run_id, f"{text}/note.txt", str(tmp_path))
        assert Path(file).read_text() == text
    # A job whose process was killed may go on in the next, its stage ended with it.
    expected = ("RUNNING", "KILLED") if end == "kill" else ("FINISHED", "FINISHED")
    assert (parent.info.status, stage.info.status) == expected
