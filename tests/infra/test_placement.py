"""Room on a cluster: what fits is found, what can't fit is said in one sentence, in time."""

from __future__ import annotations

import time

import pytest

from core.errors import InputError
from infra import ray_cluster
from infra.placement import Ask, found, share, unmet
from infra.ray_cluster import waited

HEAD = {"CPU": 0.0, "memory": 1e9, "node:__internal_head__": 1.0}
SMALL, BIG = {"CPU": 4.0}, {"CPU": 96.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("asks", "nodes"),
    [
        ([Ask("training", 1, 4.0)], [HEAD, SMALL]),
        ([Ask("training", 16, 12.0, 1.0)], [HEAD, BIG, BIG]),
        ([Ask("a", 1, 0.1) for _ in range(10)], [{"CPU": 1.0}]),
        ([Ask("a", 2, 3.0), Ask("b", 2, 1.0)], [SMALL, SMALL]),
        ([Ask("a", 1, 1.0, 0.5), Ask("b", 1, 90.0), Ask("c", 15, 0.1, 0.5)], [BIG]),
        ([], []),
    ],
)
def test_what_fits_is_let_through(asks, nodes):
    assert unmet(asks, nodes) == ""


@pytest.mark.parametrize(
    ("asks", "nodes", "sentence"),
    [
        (
            [Ask("training", 2, 1.0, 1.0, without="set FLASHLIPS_GPUS=0")],
            [HEAD, SMALL, SMALL],
            "training asks for 2 workers with 1 CPU and 1 GPU each, but the cluster has 2 nodes "
            "with 4 CPUs and no GPU and 1 node with no CPU and no GPU: add nodes with GPUs, or set "
            "FLASHLIPS_GPUS=0",
        ),
        (
            [Ask("training", 1, 8.0, smaller="give the recipe fewer threads")],
            [SMALL, SMALL],
            "training asks for 1 worker with 8 CPUs, but the cluster has 2 nodes with 4 CPUs and "
            "no GPU, none large enough for one: add larger nodes, or give the recipe fewer threads",
        ),
        (
            [Ask("evaluation", 3, 3.0)],
            [SMALL, SMALL],
            "evaluation asks for 3 workers with 3 CPUs each, but the cluster has 2 nodes with 4 "
            "CPUs and no GPU, room for 2: add nodes, or ask for fewer workers",
        ),
        (
            [Ask("a", 1, 3.0), Ask("b", 1, 3.0)],
            [SMALL],
            "a asks for 1 worker with 3 CPUs, b asks for 1 worker with 3 CPUs, all at once, but "
            "the cluster has 1 node with 4 CPUs and no GPU: add nodes, or ask for less",
        ),
        (
            [Ask("a", 9, 1.0, 1.0)],
            [BIG],
            "a asks for 9 workers with 1 CPU and 1 GPU each, but the cluster has 1 node with 96 "
            "CPUs and 8 GPUs, room for 8: add nodes, or ask for fewer workers",
        ),
        (
            [Ask("a", 1, 1.0)],
            [],
            "a asks for 1 worker with 1 CPU, but the cluster has no node, none large enough for "
            "one: add larger nodes, or ask for less",
        ),
    ],
)
def test_what_can_not_fit_is_one_sentence(asks, nodes, sentence):
    assert unmet(asks, nodes) == sentence


def test_cores_are_shared_so_that_all_workers_run():
    assert share(Ask("training", 2, 4.0), [SMALL]) == 2.0
    assert share(Ask("training", 1, 16.0), [SMALL, SMALL]) == 4.0  # no node has 8
    assert share(Ask("training", 16, 64.0, 1.0), [HEAD, BIG, BIG]) == 12.0
    assert share(Ask("training", 9, 2.0), [SMALL, SMALL]) == 1.0  # does not fit, and unmet says so


def test_equal_nodes_are_named_together():
    assert found([SMALL, BIG, SMALL]) == (
        "1 node with 96 CPUs and 8 GPUs and 2 nodes with 4 CPUs and no GPU"
    )


def test_nodes_that_join_in_time_are_taken(caplog):
    looks = [[HEAD], [HEAD], [HEAD, SMALL]]
    hints: list = []
    asks = waited(lambda nodes: [Ask("a", 1, 2.0)], lambda: looks.pop(0), 20.0, hints.append, 0.01)
    assert asks[0].cpus == 2.0
    assert not looks
    assert [len(hint) for hint in hints] == [1, 0], "an autoscaler is told, and released"
    assert "waiting up to 20 s for nodes to join" in caplog.text


def test_nodes_that_do_not_join_end_the_wait():
    hints: list = []
    start = time.monotonic()
    with pytest.raises(InputError, match=r"waited 0.2 s for nodes to join") as error:
        waited(lambda nodes: [Ask("a", 1, 2.0)], lambda: [HEAD], 0.2, hints.append, 0.05)
    assert time.monotonic() - start < 5.0
    assert "\n" not in str(error.value)
    assert [len(hint) for hint in hints] == [1, 0]


def test_a_ray_of_our_own_is_not_waited_for():
    hints: list = []
    with pytest.raises(InputError, match="none large enough for one: add larger nodes, or ask"):
        waited(lambda nodes: [Ask("a", 1, 2.0)], lambda: [HEAD], 0.0, hints.append)
    assert not hints


@pytest.mark.parametrize(("slow", "starts"), [(0, 1), (2, 3), (9, 3)])
def test_a_ray_that_starts_too_slowly_is_tried_again(monkeypatch, slow, starts):
    calls = []

    def init(**given):
        calls.append(given["num_cpus"])
        if len(calls) <= slow:
            raise RuntimeError("The current node timed out during startup. This could happen ...")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster.ray, "init", init)
    monkeypatch.setattr(ray_cluster.ray, "shutdown", lambda: None)
    if slow < starts:
        with ray_cluster.cluster(1):
            pass
    else:
        with pytest.raises(InputError, match="less busy"), ray_cluster.cluster(1):
            pass
    assert calls == [1] * starts
