"""NIQE: how far are a picture's local statistics from natural ones?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from evaluation.metrics.features import Features
from evaluation.metrics.judged import Judged


class NiqeFitted(Judged):
    """NIQE of face crops by the natural model that ships with the repository, 0 or more; lower is
    better. Reference: none, the output alone.

    The model is our own fit (``bench/fit_niqe.py``), not the authors': values order pictures of one
    table, and no published NIQE may stand beside them; the number's name says so.

    Preprocessing: crops of ``Viewing.crop`` as they are, grey, blocks of 96 px every 32, at two
    scales (``models.experts.niqe``).

    What fools it: film grain and texture of any kind look natural to it, smooth skin does not; it
    never asks whose face it is. A source in low quality has a high value, so look at the source's.

    Args:
        features: folder where scores are kept by the crops' content; None keeps none.
    """

    name = "niqe_fitted"
    better: Literal["higher", "lower", "one"] = "lower"

    def __init__(self, features: Path | None = None) -> None:
        # Imported here: scipy.
        from models.experts.niqe import Niqe

        self._judge = Niqe()
        self._kept = Features(features, self._judge.name)

    def _score(self, picture: np.ndarray) -> float:
        return self._judge.score(picture)
