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


class Niqe(Judged):
    """NIQE of face crops by the authors' natural model, 0 or more; lower is better. Reference:
    none, the output alone.

    Model: ``modelparameters.mat`` of LIVE's release (weight ``niqe_pristine``). Preprocessing:
    crops of ``Viewing.crop``, grey, cut to whole blocks of 96 px side by side, at two scales.

    Papers don't say which pictures theirs were made of: whole frames are usual. What fools it: as
    ``NiqeFitted``.

    Args:
        weights: the model, as ``models.experts.niqe`` converts it.
        features: folder where scores are kept by the crops' content; None keeps none.
        threads: not used.
        name: another one for another model.
    """

    better: Literal["higher", "lower", "one"] = "lower"
    needs: tuple[str, ...] = ("niqe_pristine",)

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = "niqe"
    ) -> None:
        # Imported here: scipy.
        from models.experts.niqe import PublishedNiqe

        self.name, self._judge = name, PublishedNiqe(weights)
        self._kept = Features(features, "niqe@1", weights)

    def _score(self, picture: np.ndarray) -> float:
        return self._judge.score(picture)
