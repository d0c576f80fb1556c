"""Exponential moving average of weights: what is measured, kept and used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class Ema:
    """A moving average of named tensors.

    The decay grows with the steps done, ``min(decay, (1 + n) / (10 + n))``, so that a short run's
    average is not its initial weights. Tensors that are no floating-point numbers are copied.

    Args:
        live: tensors being trained, by name.
        decay: weight of the past; 0 makes the average equal the live tensors.
    """

    def __init__(self, live: Mapping[str, torch.Tensor], decay: float) -> None:
        self.live = live
        self.decay = decay
        self.average = {name: t.detach().clone() for name, t in live.items()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the live tensors in, after optimiser step number ``step`` (from 1)."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in self.live.items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """The averaged tensors by name; the live ones when the average is switched off."""
        return self.average if self.decay else self.live

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The nets hold the averaged weights inside this block."""
        if not self.decay:
            yield
            return
        kept = {name: t.detach().clone() for name, t in self.live.items()}
        self._write(self.average)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self.live.items():
            tensor.copy_(tensors[name])
