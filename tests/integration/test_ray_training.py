"""Two workers on Ray nodes, one node taken away in mid-run: losses and weights as undisturbed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from core.weights import Store
from tests.integration.ray_nodes import head, join
from tests.integration.test_train_chaos import PAUSE_S, RECIPE, STEPS, losses, same
from tests.training import dummy
from training.ray_job import train_on_ray

REPO = Path(__file__).parents[2]


def of_workers(nodes: list, pids: Path) -> list:
    """Those of the nodes on which a worker runs."""
    parents = set()
    for file in pids.iterdir():
        with suppress(psutil.Error):
            parents.add(psutil.Process(int(file.read_text())).ppid())
    return [n for n in nodes if n.all_processes["raylet"][0].process.pid in parents]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_node_removed_in_mid_run(tmp_path, monkeypatch):
    """Three nodes have room for one worker each, so at least one of two is not on the head."""
    import ray

    shards = dummy.write_clips(tmp_path / "shards")
    pids = tmp_path / "pids"
    pids.mkdir()
    for name, value in {
        "PYTHONPATH": str(REPO), "SLOW_PAUSE": str(PAUSE_S), "SLOW_PIDS": str(pids),
        "FLASHLIPS_GPUS": "0", "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "20",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    cluster = head(cpus=1)
    try:
        others = [join(cluster, cpus=1), join(cluster, cpus=1)]
        ray.init(address=cluster.address, log_to_driver=False)
        recipe, store = dummy.recipe(**RECIPE), Store(())
        calm, out = tmp_path / "calm", tmp_path / "out"
        train_on_ray(recipe, shards, {}, calm, store, workers=2)
        assert sorted(losses(calm)) == list(range(1, STEPS + 1))
        lost: list[dict[str, str]] = []

        def take_away() -> None:
            end = time.monotonic() + 1200
            while max(losses(out), default=0) < STEPS // 3:
                if time.monotonic() > end:
                    return
                time.sleep(0.05)
            lost.append({file.name: file.read_text() for file in pids.iterdir()})
            cluster.remove_node(of_workers(others, pids)[0], allow_graceful=False)

        thread = threading.Thread(target=take_away)
        thread.start()
        train_on_ray(recipe, shards, {}, out, store, workers=2)
        thread.join()
        after = {file.name: file.read_text() for file in pids.iterdir()}
        assert lost, "the run was over before a node could be removed"
        assert lost[0].keys() == after.keys() == {"0", "1"}
        assert all(after[rank] != lost[0][rank] for rank in after), "nobody began again"
        assert losses(out) == losses(calm)
        assert same(out, calm)
    finally:
        ray.shutdown()
        cluster.shutdown()
