"""Image quality without a reference, by whichever judge is there."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from core.errors import InputError
from core.weights import Store

NAMES = ("auto", "hyper_iqa", "niqe")


class QualityExpert(Protocol):
    """Judges pictures.

    Attributes:
        name: of the measure. better: higher or lower.
    """

    name: str
    better: str

    def score(self, picture: np.ndarray) -> float:
        """The quality of a picture (H, W, 3) uint8 RGB."""


def load_quality(name: str, store: Store, threads: int = 1) -> QualityExpert:
    """A judge of quality.

    Args:
        name: ``hyper_iqa``, ``niqe``, or ``auto``: HyperIQA when its weights are there, else NIQE.
        store: weights.
        threads: of torch.

    Raises:
        InputError: unknown name, missing or damaged weights.
    """
    if name not in NAMES:
        raise InputError(f"no image quality {name!r}; there are {', '.join(NAMES)}")
    # Imported here: torch for the one, scipy for the other.
    if name == "hyper_iqa" or (name == "auto" and store.has("hyper_iqa")):
        from models.experts.hyper_iqa import HyperIQAExpert

        return HyperIQAExpert(store.locate("hyper_iqa"), threads)
    from models.experts.niqe import Niqe

    return Niqe()
