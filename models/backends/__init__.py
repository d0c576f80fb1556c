"""What runs a frozen net: torch as it is, torch compiled on a GPU, or ncnn on a CPU.

To add one, write a file like the others here and name it in ``BACKENDS``; ``bench/backends.py``
measures all of them against each other.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from core.errors import InputError

Given = Sequence[Tensor]
CLOSE = 1e-3
"""Largest difference from torch's own answer, over the answer's largest number."""
HALF = 0.05
"""The same where a backend computes with 16 bits."""

log = logging.getLogger(__name__)


class Net(Protocol):
    """A net ready to run. It is called from one thread at a time."""

    exact: bool
    """Whether it computes with 32 bits."""

    def __call__(self, *given: Tensor) -> Tensor:
        """Tensors (B, ...) or, shared by all samples, (1, ...), on the CPU -> (B, ...) there."""


Open = Callable[[nn.Module, Given, Path, int], Net]
"""(net, an example of what it is given with B = 1, folder to keep things in, threads) -> net."""

BACKENDS: Mapping[str, str] = {
    "cuda": "models.backends.compiled:open_cuda",
    "ncnn": "models.backends.ncnn:open_ncnn",
    "torch": "models.backends.eager:open_eager",
}
"""By name; the first that can be used here is taken when nobody says which."""


class Unusable(Exception):
    """A backend can't be used here; says why."""


def opened(net: nn.Module, example: Given, folder: Path, threads: int, name: str = "auto") -> Net:
    """A frozen net, run by the backend that was asked for, or by the first that can be used here.

    Args:
        net: in evaluation mode, on the CPU; its answer is one tensor.
        example: what it is given, with one sample.
        folder: where a backend may keep what it made of the net.
        threads: how many it may use.
        name: a key of ``BACKENDS``, or ``auto``.

    Raises:
        InputError: no such backend, or the one asked for can't be used here.
    """
    if name != "auto" and name not in BACKENDS:
        raise InputError(f"no backend {name!r}; there are auto, {', '.join(BACKENDS)}")
    for candidate in BACKENDS if name == "auto" else [name]:
        module, _, attribute = BACKENDS[candidate].partition(":")
        try:
            build: Open = getattr(importlib.import_module(module), attribute)
            found = build(net, example, folder, threads)
            check(found, net, example)
        except (Unusable, ImportError) as error:
            if name != "auto":
                raise InputError(f"backend {name} can't be used here: {error}") from error
            log.info("backend %s can't be used here: %s", candidate, error)
            continue
        return found
    raise AssertionError("torch itself can always be used")


@torch.inference_mode()
def check(found: Net, net: nn.Module, example: Given) -> None:
    """Compares a backend's answer with torch's.

    Raises:
        Unusable: they differ.
    """
    theirs, ours = net(*example), found(*example)
    apart = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
    if not apart <= (CLOSE if found.exact else HALF):  # a NaN is no answer either
        raise Unusable(f"its answer differs from torch's by {apart:.2g}")
