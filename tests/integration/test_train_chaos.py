"""kill -9 of training on Ray, a worker's and the driver's: losses and weights as if undisturbed.

A run is a process of its own; every step's losses are in its ``events.jsonl``. ``make chaos`` kills
more often; TRAIN_KILLS is the number of kills of each kind, TRAIN_SEED draws the steps.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training import dummy
from training.events import EventWriter
from training.ray_job import train_here

REPO = Path(__file__).parents[2]
KILLS = int(os.environ.get("TRAIN_KILLS", "1"))
SEED = int(os.environ.get("TRAIN_SEED", "0"))
STEPS, PAUSE_S = 60, 0.25  # a worker that has lost its driver lives for about four seconds
PATIENCE_S = 600.0
RECIPE = {"system": "tests.training.slow:SYSTEM", "steps": STEPS, "save_every_s": 2.5 * PAUSE_S}
CODE = (
    "import json, sys; from pathlib import Path; from core.weights import Store;"
    "from tests.training import dummy; from training.ray_job import train_on_ray\n"
    "train_on_ray(dummy.recipe(**json.loads(sys.argv[1])), Path(sys.argv[2]), {},"
    " Path(sys.argv[3]), Store(()), workers=int(sys.argv[4]))"
)


class Run:
    """A run on Ray in a process of its own, what it says in ``OUT.said``, its losses by step."""

    def __init__(self, shards: Path, out: Path, workers: int, pause_s: float = PAUSE_S) -> None:
        self.out, self.pids = out, out.with_suffix(".pids")
        self.pids.mkdir(parents=True, exist_ok=True)
        for old in self.pids.iterdir():
            old.unlink()
        env = {
            **os.environ, "PYTHONPATH": str(REPO), "SLOW_PIDS": str(self.pids),
            "SLOW_PAUSE": str(pause_s),
            "RAY_ADDRESS": "local",  # not a Ray that somebody runs on this machine
        }  # fmt: skip
        command = [sys.executable, "-c", CODE, json.dumps(RECIPE), str(shards), str(out)]
        with out.with_suffix(".said").open("w") as said:
            self.process = subprocess.Popen([*command, str(workers)], env=env, stderr=said)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of a failed test is left running."""
        self.process.kill()
        self.process.wait()

    def ended(self) -> str:
        """Waits for its end; what it said."""
        self.process.wait(timeout=PATIENCE_S)
        said = self.out.with_suffix(".said").read_text()
        assert self.process.returncode == 0, said
        return said

    def reach(self, step: int) -> None:
        """Waits until so many steps are done in this process."""
        end = time.monotonic() + PATIENCE_S
        while not self.worker(0) or max(losses(self.out), default=0) < step:
            assert self.process.poll() is None, self.out.with_suffix(".said").read_text()
            assert time.monotonic() < end, f"step {step} was never reached"
            time.sleep(0.01)

    def worker(self, rank: int) -> int:
        """Pid of a worker; 0 when it has not begun."""
        file = self.pids / str(rank)
        return int(file.read_text() or 0) if file.exists() else 0


def losses(*outs: Path) -> dict[int, dict[str, float]]:
    """Loss terms, gradient norm and rate by step; a step that was done twice gave them twice."""
    found: dict[int, dict[str, float]] = {}
    lines = [line for out in outs if out.exists() for line in _lines(out)]
    for event in map(json.loads, lines):
        if event["kind"] == "metrics" and "loss/total" in event["values"]:
            values = {k: v for k, v in event["values"].items() if k != "samples_per_s"}
            assert found.setdefault(event["step"], values) == values, f"step {event['step']}"
    return found


def _lines(out: Path) -> list[str]:
    """Whole lines of a run's events, or of a copy of them."""
    file = out / "events.jsonl" if out.is_dir() else out
    return file.read_text().rpartition("\n")[0].splitlines() if file.exists() else []


def same(out: Path, calm: Path) -> bool:
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (out, calm))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def alive(pid: int) -> bool:
    """Whether it still computes (a process that nobody buries is dead all the same)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return dummy.write_clips(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module", params=[1, 2])
def calm(request, shards, tmp_path_factory):
    """Workers, and an undisturbed run with so many; one worker's is made here, without Ray."""
    out = tmp_path_factory.mktemp("calm") / "out"
    if request.param == 1:
        from core.weights import Store

        out.mkdir()
        tracker = EventWriter(out / "events.jsonl")
        train_here(dummy.recipe(**RECIPE), shards, {}, out, Store(()), tracker)
    else:
        with Run(shards, out, request.param, pause_s=0.0) as run:
            run.ended()
    assert sorted(losses(out)) == list(range(1, STEPS + 1))
    return request.param, out


def moments(kind: str, workers: int) -> list[tuple[int, random.Random]]:
    rng = random.Random(f"{SEED} {kind} {workers}")
    return [(rng.randrange(10, STEPS // 2), rng) for _ in range(KILLS)]


def kill(pid: int, rng: random.Random) -> None:
    """SIGKILL, somewhere within a step."""
    time.sleep(rng.random() * PAUSE_S)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_worker_is_started_again_within_the_run(calm, shards, tmp_path):
    workers, undisturbed = calm
    for i, (step, rng) in enumerate(moments("worker", workers)):
        with Run(shards, tmp_path / f"out {i}", workers) as run:
            run.reach(step)
            pid = run.worker(rng.randrange(workers))
            kill(pid, rng)
            run.ended()
        assert pid not in map(run.worker, range(workers)), f"kill {i}: nobody began again"
        assert losses(run.out) == losses(undisturbed), f"kill {i} at step {step}"
        assert same(run.out, undisturbed), f"kill {i} at step {step}"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_driver_takes_its_workers_along_and_a_rerun_goes_on(calm, shards, tmp_path):
    """Every second time the last state is damaged as well."""
    workers, undisturbed = calm
    for i, (step, rng) in enumerate(moments("driver", workers)):
        out, before = tmp_path / f"out {i}", tmp_path / f"before {i}.jsonl"
        with Run(shards, out, workers) as run:
            run.reach(step)
            orphans = [run.worker(rank) for rank in range(workers)]
            kill(run.process.pid, rng)
        end = time.monotonic() + PATIENCE_S
        while any(alive(pid) for pid in orphans):
            assert time.monotonic() < end, "a worker outlived its driver"
            time.sleep(0.05)
        assert not (out / "card.json").exists(), f"kill {i} at step {step} came too late"
        before.write_bytes((out / "events.jsonl").read_bytes())
        spoilt = damage(out) if (i + workers) % 2 else ""
        with Run(shards, out, workers, pause_s=0.0) as again:
            said = again.ended()
        assert said.count("is damaged") == bool(spoilt), said
        assert spoilt in said
        assert losses(before, out) == losses(undisturbed), f"kill {i} at step {step}"
        assert min(losses(out)) > 1, "the rerun began from nothing"
        assert same(out, undisturbed), f"kill {i} at step {step}"
        assert not list(out.glob("state*")), "states were left"


def damage(out: Path) -> str:
    """Flips a byte of the last state; gives the state's name."""
    last = max((out / "state").glob("step_*"))
    raw = bytearray((last / "optimizer.safetensors").read_bytes())
    raw[-3] ^= 0xFF
    (last / "optimizer.safetensors").write_bytes(raw)
    return last.name


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_rerun_waits_for_a_worker_that_has_lost_its_driver(shards, tmp_path, calm):
    """The same command again at once, while the old worker still trains."""
    workers, undisturbed = calm
    for i, (step, rng) in enumerate(moments("at once", workers)):
        with Run(shards, tmp_path / f"out {i}", workers) as run:
            run.reach(step)
            kill(run.process.pid, rng)
        with Run(shards, run.out, workers, pause_s=0.0) as again:
            again.ended()
        assert losses(run.out).items() <= losses(undisturbed).items()
        assert same(run.out, undisturbed), f"kill {i} at step {step}"
