"""Two workers on two Ray nodes, one taken away in mid-run: losses and weights as undisturbed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from core.weights import Store
from tests.integration.test_train_chaos import PAUSE_S, RECIPE, STEPS, losses, same
from tests.training import dummy
from training.ray_job import train_on_ray

REPO = Path(__file__).parents[2]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_removed_in_mid_run(tmp_path, monkeypatch):
    """Each node has room for one worker; another node joins after one was lost."""
    import ray
    from ray.cluster_utils import Cluster

    shards = dummy.write_clips(tmp_path / "shards")
    pids = tmp_path / "pids"
    pids.mkdir()
    for name, value in {
        "PYTHONPATH": str(REPO), "SLOW_PAUSE": str(PAUSE_S), "SLOW_PIDS": str(pids),
        "FLASHLIPS_GPUS": "0", "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "20",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        other = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        recipe, store = dummy.recipe(**RECIPE), Store(())
        calm, out = tmp_path / "calm", tmp_path / "out"
        train_on_ray(recipe, shards, {}, calm, store, workers=2)
        assert sorted(losses(calm)) == list(range(1, STEPS + 1))
        before = {file.name: file.read_text() for file in pids.iterdir()}
        assert before.keys() == {"0", "1"}, "a worker on each node"
        left: list[int] = []

        def replace_it() -> None:
            end = time.monotonic() + 900
            while max(losses(out), default=0) < STEPS // 3:
                if time.monotonic() > end:
                    return
                time.sleep(0.05)
            at = {file.name: file.read_text() for file in pids.iterdir()}
            left.append(STEPS - max(losses(out)))
            cluster.remove_node(other, allow_graceful=False)
            before.update(at)
            cluster.add_node(num_cpus=1)

        thread = threading.Thread(target=replace_it)
        thread.start()
        train_on_ray(recipe, shards, {}, out, store, workers=2)
        thread.join()
        assert left, "the run was over before a node could be removed"
        assert left[0] > 0
        after = {file.name: file.read_text() for file in pids.iterdir()}
        assert all(after[rank] != before[rank] for rank in "01"), "nobody began again"
        assert losses(out) == losses(calm)
        assert same(out, calm)
    finally:
        ray.shutdown()
        cluster.shutdown()
