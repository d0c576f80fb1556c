"""AdamW, learning-rate schedules, gradient clipping and averaging over workers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import distributed as dist
from torch import nn

from training import sharding
from training.recipe import TrainRecipe

# One-cycle's shape is torch's OneCycleLR's: 30 % of the way up from lr/25, then down to lr/1e4.
_RISE = 0.3
_START = 1 / 25
_END = 1e-4


def make_optimizer(params: Mapping[str, nn.Parameter], recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW over parameters in order of name; biases, norms and scalars do not decay."""
    decaying = [p for _, p in sorted(params.items()) if p.ndim >= 2]
    others = [p for _, p in sorted(params.items()) if p.ndim < 2]
    groups = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.lr, betas=recipe.betas)


def learning_rate(recipe: TrainRecipe, step: int, progress: float) -> float:
    """Learning rate of a step.

    Args:
        recipe: which schedule.
        step: steps done.
        progress: how much of the run is done, in [0, 1].
    """
    if recipe.lr_schedule == "one_cycle":
        if progress < _RISE:
            return recipe.lr * _cosine(_START, 1.0, progress / _RISE)
        return recipe.lr * _cosine(1.0, _END, (progress - _RISE) / (1 - _RISE))
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    if recipe.lr_schedule == "constant":
        return recipe.lr * warm
    return recipe.lr * warm * _cosine(1.0, 0.0, progress)


def _cosine(start: float, end: float, at: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(at, 0.0), 1.0)))


def workers() -> int:
    """How many processes train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return dist.get_rank() if workers() > 1 else 0


@torch.no_grad()
def average_gradients(
    params: Mapping[str, nn.Parameter], total: torch.Tensor, sharded: bool = False
) -> float:
    """Replaces gradients by their mean over the workers; the same for the loss, which it returns.

    With several workers a parameter without a gradient counts as zeros, so that all agree. Sharded
    gradients are means already.
    """
    count = workers()
    if count == 1:
        return float(total.detach())
    if sharded:
        mean = total.detach().float().clone()
        dist.all_reduce(mean)
        return float(mean) / count
    for p in params.values():
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    grads = [p.grad for _, p in sorted(params.items()) if p.grad is not None]
    flat = torch.cat([total.detach().float().reshape(1), *(g.float().flatten() for g in grads)])
    dist.all_reduce(flat)
    flat /= count
    at = 1
    for grad in grads:
        grad.copy_(flat[at : at + grad.numel()].view_as(grad))
        at += grad.numel()
    return float(flat[0])


@torch.no_grad()
def share_from_first(tensors: Mapping[str, torch.Tensor]) -> None:
    """Gives every worker the first worker's tensors, so that they start as one."""
    if workers() > 1:
        for _, tensor in sorted(tensors.items()):
            dist.broadcast(tensor, src=0)


def agree(value: float) -> float:
    """The first worker's value, on every worker: clocks differ, decisions must not."""
    if workers() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    if dist.get_backend() == "nccl":
        shared = shared.cuda()
    dist.broadcast(shared, src=0)
    return float(shared)


def clip_gradients(params: Mapping[str, nn.Parameter], largest: float) -> float:
    """Scales the whole gradient to norm ``largest`` (not when 0); returns the norm before."""
    present = [p for p in params.values() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in present if p.grad is not None])
    size = float(sharding.whole(norm))
    if largest > 0 and math.isfinite(size):
        nn.utils.clip_grads_with_norm_(present, largest, norm)
    return size
