"""Weights spread over the workers (FSDP2), for nets that with their optimiser exceed a device.

Sharded tensors are DTensors: each worker holds a part. They are put together to be saved, and cut
up again to be restored, so files are the same whichever way a run was trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import distributed as dist
from torch import nn


def shard(modules: Mapping[str, nn.Module], device: torch.device) -> None:
    """Spreads each module over all workers: block by block where it has lists of blocks.

    A module names in ``entry_methods`` what is called on it beside ``forward``. Every worker must
    call this, with equal weights.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in modules.values():
        for part in module.modules():
            if isinstance(part, nn.ModuleList):
                for block in part:
                    fully_shard(block, mesh=mesh)
        for name in getattr(module, "entry_methods", ()):
            register_fsdp_forward_method(module, name)
        # Whole weights must not outlive a forward pass: a validation without a backward pass would
        # leave the averaged ones behind for the next training step.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Any) -> torch.Tensor:
    """A tensor put together from all workers' parts, which must all ask; others as they are."""
    full: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def like(live: Any, saved: torch.Tensor) -> torch.Tensor:
    """A whole tensor, cut up as ``live`` is."""
    if not hasattr(live, "full_tensor"):
        return saved
    from torch.distributed.tensor import distribute_tensor

    found: torch.Tensor = distribute_tensor(
        saved.to(live.device), live.device_mesh, live.placements
    )
    return found
