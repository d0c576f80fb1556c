"""Random weights and inputs that anyone can make again: each drawn from its own name's CRC-32.

Golden outputs in the tests were computed by the published code on these very weights.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def normal(name, shape):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(name, shape):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return rng.random(shape, dtype=np.float32)


def _tensor(key, shape):
    if key.endswith("num_batches_tracked"):
        return np.int64(0)
    w = normal(key, shape)
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(w)
    if key.endswith("running_mean"):
        return 0.1 * w
    if w.ndim == 1 and key.endswith("weight"):
        return 1 + 0.1 * w
    if w.ndim == 1:
        return 0.05 * w
    return w / np.float32(np.sqrt(np.prod(shape[1:])))


def filled(net):
    """The net with such weights, in evaluation mode."""
    state = {k: torch.as_tensor(_tensor(k, tuple(v.shape))) for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)
