"""prefect.yaml: entries that load and are complete; and, slow, a real server and its worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema

from core import recipe as recipes
from core.shards import read_manifest
from flows.orchestration import GPU, gpu
from flows.train import chain
from infra import stack
from infra.services import HERE, Process, free_port
from models.system import load_system
from preprocessing import ledger
from preprocessing.run import preprocess

REPO = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((REPO / "prefect.yaml").read_text())["deployments"]
NEEDED = {"preprocess/local": {"source": "clips", "out": "shards"}}
"""What a person must give; everything else has a default."""
PATIENCE_S = 900
CLIPS = 6


def flow_of(deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(REPO)
    return load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: f"{d['entrypoint']}-{d['name']}")
def test_every_deployment_loads_and_its_parameters_are_valid(deployment, monkeypatch):
    flow = flow_of(deployment, monkeypatch)
    given = deployment.get("parameters", {})
    needed = NEEDED.get(f"{flow.name}/{deployment['name']}", {})
    assert flow.validate_parameters({**needed, **given}).keys() >= given.keys()
    schema = parameter_schema(flow)
    assert set(schema.required) == needed.keys() | (given.keys() & set(schema.required))
    for name, one in schema.properties.items():
        assert one.get("description"), f"{name} has no description for the UI"
    if "recipe" in given:
        recipes.load(given["recipe"])
    assert deployment["work_pool"]["name"] == "local"
    assert deployment["description"]


def test_every_stage_of_flashlips_and_every_flow_has_its_deployment(monkeypatch):
    names = {f"{flow_of(d, monkeypatch).name}/{d['name']}" for d in DEPLOYMENTS}
    stages = load_system("flashlips").stages
    assert names >= {f"train/{stage}" for stage in stages}
    assert names >= {"preprocess/local", "train/chain", "evaluate/weekly", "end-to-end/demo"}
    for deployment in DEPLOYMENTS:
        if deployment["name"] in stages:
            recipe = recipes.load(deployment["parameters"]["recipe"])
            assert (recipe.system, recipe.stage) == ("flashlips", deployment["name"])
    scheduled = {d["name"] for d in DEPLOYMENTS if d.get("schedules")}
    assert scheduled == {"chain", "weekly"}


class Team:
    """A Prefect server and a worker, real ones, with all deployments."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.folder, self.api = folder, f"http://{HERE}:{port}/api"
        self.home = {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": self.api}
        self.server = Process(stack.prefect_server(folder / "home", port), folder)
        self.server.service = replace(self.server.service, patience_s=PATIENCE_S)
        paths = [str(REPO), str(REPO / "tests" / "preprocessing")]
        command = ("-m", "flows.worker", "--pool", "local", "--name", f"test-{port}")
        self.worker = Process(
            replace(
                stack.prefect_worker(folder / "home", self.api),
                command=(sys.executable, *command),
                environment={
                    **self.home, "PYTHONPATH": os.pathsep.join(paths), "CHEAP_PAUSE": "1",
                    "FLASHLIPS_RUNS": str(folder / "runs"), "PREFECT_WORKER_QUERY_SECONDS": "2",
                },
            ),
            folder,
        )  # fmt: skip

    def prefect(self, *words: str) -> str:
        """The command line, as a person types it."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *words],
            cwd=REPO, env={**os.environ, **self.home, "PYTHONPATH": str(REPO)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, source: Path, out: Path) -> str:
        """Asks for shards as the issue's user does; gives the run's id."""
        return self.ask("preprocess/local", source=source, out=out, recipe="cheap_chain:cheap")

    def ask(self, deployment: str, **given: object) -> str:
        """Asks for a run of a deployment; gives the run's id."""
        pairs = [w for name, value in given.items() for w in ("--param", f"{name}={value}")]
        said = self.prefect("deployment", "run", deployment, *pairs)
        return next(line.split()[-1] for line in said.splitlines() if "UUID" in line)

    def ended(self, client: SyncPrefectClient, run: str) -> Any:
        """The run, once it has ended."""
        return until(lambda: (r := client.read_flow_run(run)).state.is_final() and r)


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Iterator[Team]:
    team = Team(tmp_path_factory.mktemp("team"))
    try:
        team.server.start()
        team.prefect("work-pool", "create", "local", "--type", "process")
        team.prefect("deploy", "--all")
        team.worker.start()
        yield team
    finally:
        team.worker.stop()
        team.server.stop()


@pytest.fixture
def client(team) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: team.api}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def raw(tmp_path, video) -> Path:
    for i in range(CLIPS):
        video(tmp_path / "raw" / f"{i}.mp4", seed=i)
    (tmp_path / "raw" / "bad.mp4").write_bytes(b"")
    return tmp_path / "raw"


@pytest.fixture
def calm(raw, cheap, tmp_path) -> tuple:
    """What preprocessing gives without any Prefect."""
    preprocess("folder", raw, tmp_path / "calm", cheap)
    return contents(tmp_path / "calm")


def contents(out: Path) -> tuple:
    shards = [(s.name, (out / s.name).read_bytes()) for s in read_manifest(out).shards]
    rows = sorted(ledger.read(out / ledger.LEDGER), key=lambda row: row["source"])
    return shards, rows, (out / "manifest.json").read_bytes()


def of(client: SyncPrefectClient, what: str, run: str) -> list[dict[str, Any]]:
    """Artifacts, logs or task runs of a run."""
    key = "logs" if what == "logs" else "flow_runs"
    wanted = {key: {"flow_run_id" if what == "logs" else "id": {"any_": [run]}}}
    return client._client.post(f"/{what}/filter", json=wanted).json()


slow = [pytest.mark.slow, pytest.mark.prefect, pytest.mark.timeout(3600)]


class TestTeam:
    pytestmark = slow

    def test_shards_by_deployment_once_and_again_when_they_are_gone(
        self, team, client, raw, calm, tmp_path
    ):
        out = tmp_path / "out"
        run = team.ended(client, team.run(raw, out))
        assert run.state.is_completed(), run.state
        assert contents(out) == calm
        shown = {a["key"]: a for a in of(client, "artifacts", str(run.id))}
        assert {"ledger", "samples"} <= shown.keys()
        assert '"inputs": 6' in str(shown["ledger"]["data"])
        again = team.ended(client, team.run(raw, out))
        states = [t["state"]["name"] for t in of(client, "task_runs", str(again.id))]
        assert states == ["Cached"]
        (out / "manifest.json").unlink()
        more = team.ended(client, team.run(raw, out))
        states = sorted(t["state"]["name"] for t in of(client, "task_runs", str(more.id)))
        assert states == ["Cached", "Completed"], "the cached result named what was gone"
        assert contents(out) == calm

    def test_schedules_make_runs(self, client):
        def scheduled() -> set[str]:
            runs = [run for run in client.read_flow_runs() if run.auto_scheduled]
            names = {d.id: d.name for d in client.read_deployments()}
            return {names[run.deployment_id] for run in runs}

        until(lambda: scheduled() >= {"chain", "weekly"})
        assert scheduled() == {"chain", "weekly"}

    def test_work_on_a_gpu_waits_for_the_one_before(self, client, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with gpu(), gpu():
            pass  # nobody made the limit: nothing to wait for
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU, limit=1))
        with gpu(), pytest.raises(TimeoutError), concurrency(GPU, timeout_seconds=2, strict=True):
            pass
        with concurrency(GPU, timeout_seconds=60, strict=True):
            pass

    def test_a_persons_error_is_one_sentence(self, team, client, tmp_path):
        run = team.ended(client, team.run(tmp_path / "nowhere", tmp_path / "out"))
        assert run.state.is_failed()
        assert run.state.message == (
            f"no file or folder at {tmp_path / 'nowhere'}; check the source"
        )
        logs = "\n".join(log["message"] for log in of(client, "logs", str(run.id)))
        assert "Traceback" not in logs

    def test_the_chain_trains_what_is_new_and_only_that(
        self, client, toy_shards, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
        given = (str(toy_shards), str(tmp_path / "systems"), "flows.recipes:debug")
        first = chain(*given, return_state=True)
        assert first.is_completed(), first
        folder = Path(first.result())
        assert folder == tmp_path / "systems" / read_manifest(toy_shards).hash()
        cards = {stage: folder / stage / "card.json" for stage in load_system("flashlips").stages}
        times = {stage: card.stat().st_mtime_ns for stage, card in cards.items()}
        nothing = chain(*given, return_state=True)
        assert nothing.message.startswith("nothing new")
        cards["audio_to_lips"].unlink()
        assert chain(*given, return_state=True).is_completed()
        again = {stage for stage, card in cards.items() if card.stat().st_mtime_ns != times[stage]}
        assert again == {"audio_to_lips"}
        shown = client._client.post("/artifacts/filter", json={}).json()
        assert any(a["key"] == "mlflow" and "mlflow ui" in a["data"] for a in shown)
