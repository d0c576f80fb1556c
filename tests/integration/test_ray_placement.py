"""A placement that a real Ray can't meet: one sentence within 30 s; a node that joins is used."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import InputError
from core.weights import Store
from infra import ray_cluster
from tests.integration.ray_nodes import head, join
from tests.training import dummy
from training.ray_job import local_ray, train_on_ray

REPO = Path(__file__).parents[2]
LIMIT_S = 30.0

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return dummy.write_clips(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def cluster():
    """A head that runs no work and one node of one CPU; a driver that has joined them."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPO))
        found = head(cpus=0)
        try:
            join(found, cpus=1)
            ray.init(address=found.address, log_to_driver=False)
            yield found
        finally:
            ray.shutdown()
            found.shutdown()


def refused(call) -> str:
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        call()
    spent = time.monotonic() - start
    assert spent < LIMIT_S, f"{spent:.0f} s"
    assert "\n" not in str(error.value)
    return str(error.value)


def train(shards, out, workers=1, **changes):
    recipe = dummy.recipe(**{"steps": 4, **changes})
    return train_on_ray(recipe, shards, {}, out, Store(()), workers=workers)


@pytest.mark.parametrize(
    ("variables", "workers", "threads", "says"),
    [
        (
            {"FLASHLIPS_GPUS": "1"},
            1,
            1,
            "add nodes with GPUs, or set FLASHLIPS_GPUS=0 to train on processors",
        ),
        ({}, 1, 8, "none large enough for one: add larger nodes, or give the recipe fewer threads"),
        ({}, 4, 1, "room for 1: add nodes, or set FLASHLIPS_WORKERS to so many"),
    ],
)
def test_training_says_what_is_missing(
    variables, workers, threads, says, cluster, shards, tmp_path, monkeypatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = refused(lambda: train(shards, tmp_path / "out", workers, threads=threads))
    assert told.startswith("training asks for ")
    assert "1 node with 1 CPU and no GPU" in told
    assert told.endswith(f"{says} (waited 25 s for nodes to join)")


@dataclass(frozen=True)
class Nothing:
    """A step that is never run."""

    name = "nothing"
    needs = frozenset()
    adds = frozenset()

    def setup(self) -> None:
        raise AssertionError("it was run")

    def __call__(self, clips):
        return clips


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"gpus": 0.25}, "add nodes with GPUs, or give the step gpus=0"),
        ({"cpus": 16.0}, "add larger nodes, or give the step fewer cpus"),
    ],
)
def test_preprocessing_says_what_is_missing(place, says, cluster, tmp_path, monkeypatch):
    from core.clip import Clip
    from preprocessing import ray_runner
    from preprocessing.plan import Placed

    monkeypatch.setattr(ray_cluster, "JOINING_S", 2.0)
    clip = Clip("id", "a.mp4", (0.0, 1.0))
    chain = [Placed(Nothing(), **place)]
    told = refused(lambda: list(ray_runner.run([clip], chain, tmp_path)))
    assert told.startswith("preprocessing (nothing) asks for 1 worker")
    assert says in told


def test_evaluation_says_what_is_missing(cluster, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from evaluation import ray_runner

    monkeypatch.setattr(ray_cluster, "JOINING_S", 2.0)
    pairs = [SimpleNamespace(name=name) for name in "abc"]

    def tools():
        return None, []

    told = refused(lambda: ray_runner.measure(pairs, tmp_path, "nobody", tools, 3))
    assert told.startswith("evaluation asks for 3 workers with 1 CPU each")
    assert "room for 1: add nodes, or set FLASHLIPS_WORKERS to so many" in told


def test_a_node_that_joins_in_time_is_used(cluster, shards, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(ray_cluster, "JOINING_S", 120.0)  # a busy machine starts a node slowly
    before = len(ray_cluster.nodes())
    with ThreadPoolExecutor(1) as elsewhere:
        trained = elsewhere.submit(train, shards, tmp_path / "out", threads=2)
        time.sleep(3.0)
        join(cluster, 2)  # Ray starts nodes from the main thread alone
        assert trained.result().step == 4
    assert len(ray_cluster.nodes()) == before + 1
    assert "waiting up to 120 s for nodes to join" in caplog.text


def test_a_ray_started_here_has_what_there_is(shards, tmp_path, monkeypatch):
    """Last, for it needs a process without a Ray."""
    import ray

    ray.shutdown()
    with local_ray(1):
        monkeypatch.setenv("FLASHLIPS_GPUS", "1")
        start = time.monotonic()
        told = refused(lambda: train(shards, tmp_path / "out"))
        assert time.monotonic() - start < 10.0, "nobody joins a Ray of our own"
        assert told.endswith("set FLASHLIPS_GPUS=0 to train on processors")
