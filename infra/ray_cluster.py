"""A Ray to work on: the cluster that the settings name, or one started here for the while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray

from core.errors import InputError
from infra.placement import Ask, Node, unmet
from infra.settings import VARIABLES, settings

log = logging.getLogger(__name__)

JOINING_S = 25.0
"""How long nodes of a running cluster may take to join before a placement is given up."""
TRIES = 3
_ours = False


@contextmanager
def cluster(cpus: int = 0, object_store_bytes: int = 0) -> Iterator[None]:
    """Ray is there inside; one that was there before stays, one that was started here goes.

    Args:
        cpus: cores that a Ray started here may hand out; 0 is all of the machine's.
        object_store_bytes: its memory for objects; 0 is Ray's own choice.

    Raises:
        InputError: Ray does not start, or nobody answers at the cluster's address.
    """
    global _ours
    if ray.is_initialized():
        yield
        return
    address = settings().cluster
    try:
        if address:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        else:
            _start_here(cpus, object_store_bytes)
    except Exception as error:  # Ray has no narrower one for it
        why = (str(error).splitlines() or [type(error).__name__])[0]
        if address:
            raise InputError(
                f"no Ray answers at {VARIABLES['cluster']}={address} ({why}): start the cluster, "
                "or unset the variable to start a Ray here"
            ) from error
        raise InputError(
            f"Ray did not start ({why}): run again when the machine is less busy, or train and "
            "preprocess with --engine local"
        ) from error
    _ours = not address
    try:
        yield
    finally:
        _ours = False
        ray.shutdown()


def _start_here(cpus: int, object_store_bytes: int) -> None:
    """Starts a Ray, again where the 30 s that it gives itself are too few for a busy machine."""
    for left in reversed(range(TRIES)):
        try:
            ray.init(
                address="local",  # else Ray joins what a 'ray start' on this machine left behind
                num_cpus=cpus or None,
                object_store_memory=object_store_bytes or None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
            log.warning("Ray did not start in time; trying again")
        else:
            return


def room(plan: Callable[[Sequence[Node]], Sequence[Ask]]) -> Sequence[Ask]:
    """What will be asked of the Ray that runs, once its nodes can hold it.

    A Ray started here is as large as it will be; nodes of a running cluster are given some seconds
    to join, and an autoscaler is told what is needed.

    Args:
        plan: what is asked, given the nodes.

    Raises:
        InputError: there is no such room; Ray itself would wait for it for ever.
    """
    return waited(plan, nodes, 0.0 if is_ours() else JOINING_S, _hint)


def is_ours() -> bool:
    """Whether the Ray that runs was started here: it is this machine, and no node will join."""
    return _ours


def nodes() -> list[Node]:
    """Resources of every node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def waited(
    plan: Callable[[Sequence[Node]], Sequence[Ask]],
    look: Callable[[], Sequence[Node]],
    patience_s: float,
    hint: Callable[[Sequence[Ask]], None],
    pause_s: float = 1.0,
) -> Sequence[Ask]:
    """Looks at the nodes until what is planned for them fits.

    Args:
        plan: what is asked, given the nodes.
        look: gives the nodes.
        patience_s: how long nodes may take to join.
        hint: tells an autoscaler what is missing, and with nothing that nobody waits any more.
        pause_s: seconds between looks.

    Raises:
        InputError: it did not fit in time.
    """
    end = time.monotonic() + patience_s
    told = False
    try:
        while True:
            there = look()
            asks = plan(there)
            why = unmet(asks, there)
            if not why:
                return asks
            if time.monotonic() >= end:
                late = f" (waited {patience_s:g} s for nodes to join)" if patience_s else ""
                raise InputError(why + late)
            if not told:
                told = True
                log.warning("%s; waiting up to %g s for nodes to join", why, patience_s)
                hint(asks)
            time.sleep(min(pause_s, patience_s))
    finally:
        if told:  # a wish that stays would keep nodes that nobody uses
            hint(())


def _hint(asks: Sequence[Ask]) -> None:
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[ask.bundle for ask in asks for _ in range(ask.workers)])
