"""Two Ray nodes on one machine, one of them taken away in mid-run: the bytes are the for loop's."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core.shards import read_manifest
from preprocessing import ledger
from preprocessing.run import preprocess
from tests.integration.ray_nodes import head, join

REPO = Path(__file__).parents[2]


def result(out: Path) -> tuple:
    rows = sorted(ledger.read(out / ledger.LEDGER), key=lambda row: row["source"])
    return [(s.name, s.sha256) for s in read_manifest(out).shards], rows


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_removed_in_mid_run(tmp_path, video, cheap, monkeypatch):
    import ray

    for i in range(10):
        video(tmp_path / "raw" / f"{i}.mp4", seed=i)
    (tmp_path / "raw" / "bad.mp4").write_bytes(b"")
    cheap = replace(cheap, shard_mb=0.03)
    preprocess("folder", tmp_path / "raw", tmp_path / "calm", cheap)
    here = os.pathsep.join([str(REPO), str(REPO / "tests" / "preprocessing")])
    monkeypatch.setenv("PYTHONPATH", here)
    monkeypatch.setenv("CHEAP_PAUSE", "1.0")
    monkeypatch.setenv("CHEAP_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "20")
    cluster = head(cpus=1)
    try:
        other = join(cluster, cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        assert len(nodes) == 2
        left: list[int] = []
        out = tmp_path / "out"

        def take_away() -> None:
            end = time.monotonic() + 600
            while len(done := list(out.glob(".work/*/[!.]*.json"))) < 3:
                if time.monotonic() > end:
                    return
                time.sleep(0.02)
            left.append(11 - len(done))
            cluster.remove_node(other, allow_graceful=False)

        thread = threading.Thread(target=take_away)
        thread.start()
        preprocess("folder", tmp_path / "raw", out, cheap, engine="ray")
        thread.join()
        assert left, "the run was over before a node could be removed"
        assert left[0] > 0
        end = time.monotonic() + 120
        while sum(node["Alive"] for node in ray.nodes()) > 1:  # a silent node is given 20 seconds
            assert time.monotonic() < end, "the node is still there"
            time.sleep(0.2)
        assert result(out) == result(tmp_path / "calm")
    finally:
        ray.shutdown()
        cluster.shutdown()
