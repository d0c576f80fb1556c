"""Whether a cluster has room for what is asked of it: arithmetic over its nodes, without Ray."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Node = Mapping[str, float]
"""Resources of one node in all, used or not: ``CPU`` in cores, ``GPU`` in cards."""
_DUST = 1e-6  # shares such as 0.1 do not add up exactly


@dataclass(frozen=True)
class Ask:
    """Workers that must all run at once.

    Attributes:
        what: who asks, the subject of the sentence.
        workers: how many.
        cpus: processor cores of each.
        gpus: graphics cards of each, or a share of one.
        fewer: what a person may change to ask for fewer workers.
        smaller: likewise for smaller ones.
        without: likewise for workers without a GPU.
    """

    what: str
    workers: int
    cpus: float
    gpus: float = 0.0
    fewer: str = "ask for fewer workers"
    smaller: str = "ask for less"
    without: str = "ask for none"

    @property
    def bundle(self) -> dict[str, float]:
        """One worker's resources as Ray names them."""
        return {"CPU": self.cpus, "GPU": self.gpus} if self.gpus else {"CPU": self.cpus}


def unmet(asks: Sequence[Ask], nodes: Sequence[Node]) -> str:
    """Why the nodes can't hold all that is asked, even when nothing else runs there.

    Args:
        asks: workers that must all run at once.
        nodes: those that are alive.

    Returns:
        One sentence: what was asked, what there is, what to do. Empty when all fits.
    """
    for ask in asks:
        why = _alone(ask, nodes)
        if why:
            return f"{_asked(ask)}, but the cluster has {found(nodes)}{why}"
    if _pack(asks, nodes):
        return ""
    return (
        f"{', '.join(_asked(ask) for ask in asks)}, all at once, but the cluster has "
        f"{found(nodes)}: add nodes, or {asks[0].smaller}"
    )


def share(ask: Ask, nodes: Sequence[Node]) -> float:
    """Cores that each worker can have: as many as it asks for, or as few as lets all run.

    Args:
        ask: ``cpus`` is the most that a worker is given.
        nodes: those that are alive.

    Returns:
        At least 1, whether that fits or not.
    """
    for cpus in range(math.floor(ask.cpus), 1, -1):
        fits = Ask(ask.what, ask.workers, cpus, ask.gpus)
        if not _alone(fits, nodes):
            return float(cpus)
    return min(1.0, ask.cpus)


def found(nodes: Sequence[Node]) -> str:
    """The nodes in words, equal ones together."""
    kinds = Counter((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    if not kinds:
        return "no node"
    return " and ".join(
        f"{_count(number, 'node')} with {_count(cpus, 'CPU')} and {_count(gpus, 'GPU')}"
        for (cpus, gpus), number in sorted(kinds.items(), reverse=True)
    )


def _alone(ask: Ask, nodes: Sequence[Node]) -> str:
    """What is wrong with one ask, were it the only one; empty when it fits."""
    room = [_holds(node, ask) for node in nodes]
    if sum(room) >= ask.workers:
        return ""
    if ask.gpus and not any(node.get("GPU", 0.0) for node in nodes):
        return f": add nodes with GPUs, or {ask.without}"
    if not any(room):
        return f", none large enough for one: add larger nodes, or {ask.smaller}"
    return f", room for {sum(room)}: add nodes, or {ask.fewer}"


def _pack(asks: Sequence[Ask], nodes: Sequence[Node]) -> bool:
    """Whether all fit together, largest first, each where it leaves least."""
    free = [dict(node) for node in nodes]
    for ask in sorted(asks, key=lambda a: (a.gpus, a.cpus), reverse=True):
        for _ in range(ask.workers):
            able = [node for node in free if _holds(node, ask)]
            if not able:
                return False
            best = min(able, key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)))
            for name, amount in ask.bundle.items():
                best[name] -= amount
    return True


def _holds(node: Node, ask: Ask) -> int:
    """How many of an ask's workers a node holds."""
    needs = {name: amount for name, amount in ask.bundle.items() if amount}
    return min(
        (math.floor(node.get(name, 0.0) / amount + _DUST) for name, amount in needs.items()),
        default=ask.workers,
    )


def _asked(ask: Ask) -> str:
    each = _count(ask.cpus, "CPU") + (f" and {_count(ask.gpus, 'GPU')}" if ask.gpus else "")
    many = ask.workers > 1
    return f"{ask.what} asks for {_count(ask.workers, 'worker')} with {each}{' each' * many}"


def _count(number: float, noun: str) -> str:
    if not number:
        return f"no {noun}"
    return f"{number:g} {noun}{'s' * (number > 1)}"
