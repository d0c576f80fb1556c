"""Models that a person saved to disk (``save_pretrained``): found by name, named by content.

A name is ``FOLDER`` or ``FOLDER@HASH``: a path, or the name of a folder below a weights folder. The
hash, 8 hex digits of the weights file, is what shards and checkpoints keep; it is checked when
given.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.weights import Store

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class LocalModel:
    """A folder with ``config.json`` and ``model.safetensors``.

    Attributes:
        folder: where it lies. name: ``FOLDER@HASH``, as a recipe would ask for this very one.
    """

    folder: Path
    name: str


def find(name: str, store: Store) -> Path | None:
    """The folder of that name, or None; ``name`` may carry a hash, which is not looked at."""
    wanted = Path(name.partition("@")[0]).expanduser()
    for folder in (wanted, *(below / wanted for below in store.folders)):
        if (folder / "config.json").is_file():
            return folder
    return None


def locate(name: str, store: Store) -> LocalModel:
    """The model of that name.

    Raises:
        InputError: no such folder, weights in another form, or of another hash.
    """
    plain, _, wanted = name.partition("@")
    folder = find(name, store)
    if folder is None:
        places = " or ".join(str(below) for below in store.folders) or "a weights folder"
        raise InputError(
            f"no model folder {plain!r} with a config.json: save one there, or below {places}, "
            "with save_pretrained"
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise InputError(
            f"{folder} has no {WEIGHTS}; load the model once and save it with save_pretrained"
        )
    facts = weights.stat()
    found = _digest(weights, facts.st_size, facts.st_mtime_ns)[:8]
    if wanted and wanted != found:
        raise InputError(f"{folder} holds {plain}@{found}, wanted is {name}: put that one there")
    return LocalModel(folder, f"{plain}@{found}")


def opened(kind: Any, folder: Path) -> Any:
    """The model of a folder, in evaluation mode, frozen, in float32 on the CPU.

    Args:
        kind: a class of transformers with ``from_pretrained``.
        folder: as from ``locate``.

    Raises:
        InputError: transformers can't open it, or its file lacks some of the weights.
    """
    import torch

    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(
            f"{folder} is no model that transformers' {kind.__name__} can open ({error}); save it "
            "again with save_pretrained"
        ) from error
    # Only training masks; published files often lack this one.
    missing = sorted(k for k in info["missing_keys"] if not k.endswith("masked_spec_embed"))
    if missing:  # transformers would draw them by chance
        raise InputError(
            f"{folder} lacks {missing[0]} ({len(missing)} weights in all) of transformers' "
            f"{type(model).__name__}: it is a model of another kind"
        )
    return model.eval().requires_grad_(False)


@functools.lru_cache(maxsize=16)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    # Size and mtime are part of the cache's key, as in core.weights: hashed once a process.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
