"""Nodes of a Ray on this machine, tried again: Ray gives each 30 seconds, too few on a busy one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TRIES = 4


def head(cpus: int) -> Any:
    """A cluster with its head."""
    from ray.cluster_utils import Cluster

    return tried(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": cpus}))


def join(cluster: Any, cpus: int) -> Any:
    """One more node."""
    return tried(lambda: cluster.add_node(num_cpus=cpus))


def tried(make: Callable[[], Any]) -> Any:
    """What starts a node, again and again."""
    for left in reversed(range(TRIES)):
        try:
            return make()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError
