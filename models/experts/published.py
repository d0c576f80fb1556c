"""Published state dicts into nets of ours: key by key, nothing missing, nothing too much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from core.errors import InputError
from models.experts.codec import read_tensors

Net = TypeVar("Net", bound=nn.Module)


def load_published(
    make: Callable[[], Net], path: Path, complaint: str, unused: frozenset[str] = frozenset()
) -> Net:
    """A net with a file's weights, in float32, in evaluation mode, frozen.

    It is made without memory of its own and takes the file's tensors, so even a large net is held
    once. Where a checkpoint keeps its net under ``state_dict`` or ``module``, what lies beside is
    left out.

    Args:
        make: the net's class.
        path: safetensors file.
        complaint: what the file is not, after "FILE is ", and what to do.
        unused: keys that may be there and are left out; one that ends in a dot stands for all that
            begin so.

    Raises:
        InputError: other keys or shapes than the net's.
    """
    tensors = read_tensors(path)
    for under in ("state_dict.", "module."):
        if any(key.startswith(under) for key in tensors):
            tensors = {k.removeprefix(under): v for k, v in tensors.items() if k.startswith(under)}
    beginnings = tuple(key for key in unused if key.endswith("."))
    with torch.device("meta"):
        net = make()
    kept = {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
        if key not in unused and not key.startswith(beginnings)
    }
    try:
        net.load_state_dict(kept, assign=True)
    except RuntimeError as error:
        raise InputError(f"{path} is {complaint}") from error
    return net.eval().requires_grad_(False)
