"""Audio-visual synchrony: how far the sound is off the lips, and how sure that is.

Any net that gives a vector for each moment of picture and of sound can judge; SyncNet's measure
(Chung & Zisserman 2016) is made of their distances. Light-ASD is no such expert here: its score
peaks within 40 ms of the truth in only half of real clips that are in sync.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.errors import InputError
from core.weights import Store

REACH = 15
"""Frames of 40 ms that sound and picture are moved against each other, each way."""


class SyncExpert(Protocol):
    """Judges synchrony.

    Attributes:
        name: goes to the manifest.
    """

    name: str

    def distances(
        self, frames: Iterable[np.ndarray], mesh: np.ndarray, sound: np.ndarray
    ) -> np.ndarray:
        """How far lips and sound are apart.

        Args:
            frames: T pictures (H, W, 3) uint8 RGB at 25 fps.
            mesh: (T, 468, 3) landmarks of the face in frame pixels.
            sound: (640 T,) float in [-1, 1], 16 kHz mono, from the first frame on.

        Returns:
            (N, 2 REACH + 1): column k compares each moment's picture with the sound k - REACH
            frames later.
        """


@dataclass(frozen=True)
class Synchrony:
    """SyncNet's measure.

    Attributes:
        offset: frames that the sound must be delayed by to fit (SyncNet's AV offset: positive when
            it comes early).
        confidence: median minus least of the mean distances (over a video: LSE-C).
        distance: the least mean distance (LSE-D).
    """

    offset: int
    confidence: float
    distance: float


def load_sync(name: str, store: Store, threads: int = 1) -> SyncExpert | None:
    """A sync expert, or None when its weights are not there.

    Args:
        name: ``syncnet_v2``, or ``package.module:function`` that is given the store.
        store: weights.
        threads: of torch.

    Raises:
        InputError: unknown name, damaged weights.
    """
    if name == "syncnet_v2":
        if not store.has(name):
            return None
        # Imported here: torch, and it needs this module.
        from models.experts.syncnet import SyncNetExpert

        return SyncNetExpert(store.locate(name), threads)
    module, _, function = name.partition(":")
    try:
        expert: SyncExpert = getattr(importlib.import_module(module), function)(store)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"no sync expert {name!r}; there are syncnet_v2 and package.module:function ({error})"
        ) from error
    return expert


def distance_matrix(picture: np.ndarray, sound: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Euclidean distances between each picture vector and the sound around it.

    As published, vectors before the start and behind the end count as zeros: thresholds that others
    use (confidence 3) were found that way.

    Args:
        picture: (N, D), one vector a frame.
        sound: (N, D), of the same moments.
        reach: frames each way.

    Returns:
        (N, 2 reach + 1) float64; column k is sound ``k - reach`` frames later.
    """
    assert picture.shape == sound.shape, (picture.shape, sound.shape)
    padded = np.pad(sound.astype(np.float64), ((reach, reach), (0, 0)))
    columns = [
        np.linalg.norm(picture - padded[k : k + len(picture)], axis=1) for k in range(2 * reach + 1)
    ]
    return np.stack(columns, 1)


def synchrony(distances: np.ndarray) -> Synchrony:
    """Offset and confidence from distances (N, 2 REACH + 1), averaged over time first."""
    mean = distances.mean(0)
    best = int(mean.argmin())
    return Synchrony(REACH - best, float(np.median(mean) - mean[best]), float(mean[best]))
