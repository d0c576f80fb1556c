"""torch on the CPU, as it is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from models.backends import Given

BATCH = 32
"""Samples at once; more only cost memory."""


class Eager:
    """See ``models.backends.Net``."""

    exact = True

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    @torch.inference_mode()
    def __call__(self, *given: Tensor) -> Tensor:
        """See ``models.backends.Net``."""
        count = max(len(g) for g in given)
        parts = [
            self._net(*(g if len(g) == 1 else g[i : i + BATCH] for g in given))
            for i in range(0, count, BATCH)
        ]
        return torch.cat(parts)


def open_eager(net: nn.Module, example: Given, folder: Path, threads: int) -> Eager:
    """See ``models.backends.Open``; the number of threads is the process's."""
    del example, folder, threads
    return Eager(net)
