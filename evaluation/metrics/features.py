"""What nets make of videos, kept on disk: no net looks at the same pixels twice."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.files import atomic
from evaluation.videos import file_sha

log = logging.getLogger(__name__)

EVERY = 5
"""Frames apart at which a face is looked at where that is slow: five looks a second say who, how
sharp and how steady as well as twenty-five."""


class Features:
    """Arrays by what they were made from.

    Args:
        folder: where they are kept, usually ``runs/features``; None keeps nothing.
        maker: who makes them: a net and the version of its preprocessing; a folder's name.
        weights: files of the net; other files' features are others.
    """

    def __init__(self, folder: Path | None, maker: str, *weights: Path) -> None:
        self._folder, self._maker, self._weights = folder, maker, weights

    def of(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of ``key`` (a hash of all that it depends on), made when it is not there."""
        if self._folder is None:
            return make()
        path = self._folder / self._name / f"{key}.npy"
        if path.is_file():
            try:
                kept: np.ndarray = np.load(path, allow_pickle=False)
            except (ValueError, EOFError, OSError):
                log.warning("%s is damaged; making it again", path)
            else:
                return kept
        made = make()
        with atomic(path) as part:
            np.save(part, made)
        return made

    @functools.cached_property
    def _name(self) -> str:
        clean = re.sub(r"[^\w.@-]", "_", self._maker)
        return "-".join([clean, *map(file_sha, self._weights)])


def content(*arrays: np.ndarray) -> str:
    """32 hex digits of arrays' shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        whole = np.ascontiguousarray(array)
        digest.update(f"{whole.shape} {whole.dtype} ".encode())
        digest.update(whole.data)
    return digest.hexdigest()[:32]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes with so many threads, and without gradients."""
    # Imported here: lists of metrics are made where nothing is computed.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
