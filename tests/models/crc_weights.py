"""Random weights and inputs that anyone can make again: each drawn from its own name's CRC-32.

Golden outputs in the tests were computed by the published code on these very weights.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def _rng(name):
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def normal(name, shape):
    return _rng(name).standard_normal(shape, dtype=np.float32)


def uniform(name, shape):
    return _rng(name).random(shape, dtype=np.float32)


def bytes_(name, shape):
    return np.minimum(np.floor(256 * uniform(name, shape)), 255).astype(np.uint8)


def tensor(key, shape, gain=1.0):
    if key.endswith("num_batches_tracked"):
        return np.int64(0)
    if key.endswith("pos_encoder.pe"):
        return _waves(shape)
    w = normal(key, shape)
    if key.endswith("running_var"):
        return 1 + 0.1 * np.abs(w)
    if key.endswith("running_mean"):
        return 0.1 * w
    if w.ndim == 1 and key.endswith("weight"):
        return 1 + 0.1 * w
    if w.ndim == 1 or key.endswith("bias"):
        return 0.05 * w
    return w * np.float32(gain / np.sqrt(np.prod(shape[1:])))


def _waves(shape):
    """The one table that is not random: (1, places, C) sines and cosines in turn."""
    _, places, wide = shape
    at = np.arange(places)[:, None] * np.exp(np.arange(0, wide, 2) * -np.log(10_000.0) / wide)
    return np.stack([np.sin(at), np.cos(at)], -1).reshape(shape).astype(np.float32)


def filled(net, gain=1.0):
    """The net (it may lie on the meta device) with such weights, in evaluation mode.

    ``gain`` stretches the weights of layers, no others.
    """
    state = net.state_dict()
    made = {k: torch.as_tensor(tensor(k, tuple(v.shape), gain)) for k, v in state.items()}
    net.load_state_dict(made, assign=True)
    return net.eval().requires_grad_(False)


def sketch(output):
    """Four numbers that every number of an output counts in: its length, and projections."""
    flat = np.ravel(output).astype(np.float64)
    return [float(np.linalg.norm(flat)), *(normal("sketch", (3, flat.size)) @ flat).tolist()]


def apart(found, golden):
    """Relative L2."""
    found, golden = np.ravel(found).astype(np.float64), np.ravel(golden).astype(np.float64)
    assert found.shape == golden.shape
    return float(np.linalg.norm(found - golden) / np.linalg.norm(golden))
