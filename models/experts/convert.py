"""Foreign checkpoints (.pth, .pt) to safetensors, once: tensors only, no code of theirs is run."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.files import atomic
from core.weights import REGISTRY


def convert(path: Path, out: Path) -> dict[str, tuple[int, ...]]:
    """Writes the tensors of a torch checkpoint to ``out``, with the source's hash as metadata.

    Nested state dicts are flattened with dots; numbers, strings and None are left out.

    Args:
        path: a file of ``torch.save``.
        out: a ``.safetensors`` file.

    Returns:
        Shape of each tensor by name.

    Raises:
        InputError: it holds more than tensors and plain values (such as TorchScript or a pickled
            module), no tensor at all, or has another hash than the registered one.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out} must end in .safetensors")
    if not path.is_file():
        raise InputError(f"no file {path}; name a .pth or .pt file")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    _check_hash(path, digest)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not a file of tensors only (TorchScript, a pickled module or damaged); "
            "ask its author for a state dict or safetensors"
        ) from error
    tensors = {
        name or "tensor": value.detach().clone().contiguous()
        for name, value in _leaves(content, "", path)
    }
    if not tensors:
        raise InputError(f"{path} holds no tensor; name a file of torch.save(state_dict)")
    with atomic(out) as part:
        save_file(tensors, part, {"source": path.name, "source_sha256": digest})
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _check_hash(path: Path, digest: str) -> None:
    known = [part for w in REGISTRY.values() for part in w.parts if part.file == path.name]
    if any(part.sha256 and part.sha256 != digest for part in known):
        raise InputError(
            f"{path} has another hash than the registered {path.name}; "
            "get it again, or rename it when it is a file of your own"
        )


def _leaves(value: Any, prefix: str, path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield prefix, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key), path)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}.{i}" if prefix else str(i), path)
    elif not isinstance(value, bool | int | float | str | None):
        raise InputError(f"{path}: {prefix!r} is a {type(value).__name__}; only tensors are taken")
