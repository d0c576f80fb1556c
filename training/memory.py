"""Whether data fits into main memory, said before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import psutil

from core.errors import InputError
from core.sample import Sample
from core.shards import Shards, read_manifest, read_samples, spoken

SPARE = 1.3
"""Room for nets, activations, and the copy while a clip's segments are joined, as a factor."""


def check_memory(folder: Shards, fields: Sequence[str], workers: int, free: int = 0) -> None:
    """Refuses data that would not fit where each worker of this machine reads all of it.

    Args:
        folder: shards.
        fields: to be read into memory.
        workers: on this machine.
        free: bytes there are; 0 asks the system.

    Raises:
        InputError: with what is needed, what there is, and the remedy.
    """
    sample = next(iter(read_samples(folder, fields)), None)
    frames = int(read_manifest(folder).counts.get("frames", 0))
    if sample is None or not frames:
        return
    needed = SPARE * workers * frames * bytes_per_frame(sample, fields)
    free = free or psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            f"{spoken(folder)} unpacks to {needed / 1e9:.1f} GB for {workers} worker(s) and "
            f"{free / 1e9:.1f} GB of memory are free: set FLASHLIPS_FRAME_CACHE to a folder on a "
            "fast disk, from which frames are then mapped"
        )


def bytes_per_frame(sample: Sample, fields: Sequence[str]) -> float:
    """Bytes a frame of a sample's fields in memory."""
    arrays: Mapping[str, np.ndarray] = {
        name: sample[name] for name in fields if isinstance(sample.get(name), np.ndarray)
    }
    frames = max((len(array) for array in arrays.values()), default=1)
    return sum(array.nbytes for array in arrays.values()) / frames
