"""torch.compile: on a GPU with 16 bits, channels last and CUDA graphs; on a CPU to compare."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backends import Given, Unusable

BATCH = 16
"""Samples at once. Always as many: each number of samples is compiled, and recorded, anew."""


class Compiled:
    """A net compiled for one batch size; shorter batches are filled up.

    Args:
        net: is copied. device: where it runs. dtype: of its weights and inputs.
        mode: of ``torch.compile``; None leaves it as it is.
    """

    def __init__(
        self, net: nn.Module, device: str, dtype: torch.dtype, mode: str | None = "default"
    ) -> None:
        self.exact = dtype == torch.float32
        self._device, self._dtype = torch.device(device), dtype
        moved = copy.deepcopy(net).to(self._device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net: Any = moved if mode is None else torch.compile(moved, mode=mode)

    @torch.inference_mode()
    def __call__(self, *given: Tensor) -> Tensor:
        """See ``models.backends.Net``."""
        count = max(len(g) for g in given)
        found = [self._batch(given, first, count) for first in range(0, count, BATCH)]
        return torch.cat(found)[:count]

    def _batch(self, given: Given, first: int, count: int) -> Tensor:
        filled = []
        for one in given:
            part = one[first : first + BATCH] if len(one) == count else one
            part = part.expand(BATCH, *part.shape[1:]) if len(part) == 1 else part
            missing = BATCH - len(part)
            part = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
            layout = torch.channels_last if part.dim() == 4 else torch.contiguous_format
            # Pinned memory is copied while the GPU still works on the batch before.
            part = part.pin_memory() if self._device.type == "cuda" else part
            moved = part.to(self._device, self._dtype, non_blocking=True)
            filled.append(moved.contiguous(memory_format=layout))
        out: Tensor = self._net(*filled)
        return out.float().cpu()


def open_cuda(net: nn.Module, example: Given, folder: Path, threads: int) -> Compiled:
    """See ``models.backends.Open``.

    Raises:
        Unusable: there is no GPU.
    """
    del example, folder, threads
    if not torch.cuda.is_available():
        raise Unusable("torch sees no CUDA device")
    return Compiled(net, "cuda", torch.bfloat16, "reduce-overhead")
