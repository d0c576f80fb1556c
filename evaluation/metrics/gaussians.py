"""Fréchet distances out of observed rows, shared by the metrics that are one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from evaluation.frechet import frechet, too_few
from evaluation.metrics.rows import Rows, pooled
from evaluation.videos import Kind, Seen, VideoCase

OURS, THEIRS = "output", "reference"
"""Keys of a row: vectors (N, D) of the edited video and of the one it is compared with."""


class Gaussians(ABC):
    """What metrics that are a Fréchet distance have in common; see ``evaluation.videos``."""

    name: str
    better: Literal["higher", "lower", "one"] = "lower"
    pooled = True
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``output`` and ``reference`` (N,D) float32."""
        return {OURS: self._vectors(case.output), THEIRS: self._vectors(case.source)}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """The distance over all vectors of all cases, and ``NAME_vectors``, how many."""
        return distance(rows, self.name)

    def note(self, rows: Sequence[Mapping[str, np.ndarray]]) -> str:
        """What to print beside the number; "" when there are enough vectors."""
        return note(rows)

    @abstractmethod
    def _vectors(self, seen: Seen) -> np.ndarray:
        """A video's vectors (N,D) float32."""


def distance(rows: Rows, name: str) -> Mapping[str, float]:
    """``NAME``, NaN below two vectors, and ``NAME_vectors``, how many the smaller set has.

    A resampled set of rows may hold the same vectors twice; then the distance is that of what was
    drawn, and higher than with so many different ones.
    """
    ours, theirs = pooled(rows, OURS), pooled(rows, THEIRS)
    count = min(len(ours), len(theirs))
    value = frechet(ours, theirs).value if count >= 2 else float("nan")
    return {name: value, f"{name}_vectors": float(count)}


def note(rows: Rows) -> str:
    """What a reader must know beside the distance, "" when there is nothing."""
    shapes = [np.shape(row[key]) for row in rows for key in (OURS, THEIRS)]
    if not shapes:
        return ""
    return too_few(sum(s[0] for s in shapes[::2]), sum(s[0] for s in shapes[1::2]), shapes[0][1])
