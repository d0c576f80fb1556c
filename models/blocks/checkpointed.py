"""Activation checkpointing: a block's inner activations are computed again in the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run(block: nn.Module, on: bool, *inputs: Any) -> Any:
    """``block(*inputs)``; where gradients flow and it is ``on``, without keeping what lies between.

    A net that offers it has an attribute ``checkpointing``, False at first, which the training loop
    sets by the recipe.
    """
    if on and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)
