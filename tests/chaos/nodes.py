"""Two Ray nodes on this machine, one of which can be lost."""

from __future__ import annotations

import time
from typing import Any

from tests.integration.ray_nodes import tried

PATIENCE_S = 120.0
HEAD = {"num_cpus": 1, "include_dashboard": False}


class Nodes:
    """A head and another node with a core each; this process only looks at them.

    Use as a context; the variables of this process are the nodes'.
    """

    def __enter__(self) -> Nodes:
        # Imported here: Ray takes seconds.
        import ray
        from ray.cluster_utils import Cluster

        self._cluster: Any = tried(lambda: Cluster(initialize_head=True, head_node_args=HEAD))
        self.address = str(self._cluster.address)
        self.other = self._join()
        ray.init(address=self.address, log_to_driver=False)
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def lose(self) -> None:
        """Kills the other node; Ray does not know yet."""
        self._cluster.remove_node(self.other, allow_graceful=False)

    def noticed(self) -> None:
        """Waits until Ray knows of the loss."""
        end = time.monotonic() + PATIENCE_S
        while self.alive() > 1:  # a silent node is given 20 seconds
            assert time.monotonic() < end, "the node is still there"
            time.sleep(0.2)

    def add(self) -> None:
        """Another node joins."""
        self._join()

    def _join(self) -> Any:
        return tried(lambda: self._cluster.add_node(num_cpus=1))

    def alive(self) -> int:
        """How many nodes there are."""
        import ray

        return sum(node["Alive"] for node in ray.nodes())
