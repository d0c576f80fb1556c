"""Who is seen: one embedding a segment, by which speakers are told apart and grouped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from core.clip import Clip
from core.weights import Store

Who = Literal["mobilefacenet", "arcface"]
LOOKS = 5
"""Frames of a segment that are embedded."""


@dataclass(frozen=True)
class Identify:
    """Adds identity (D,) float32 of length 1, the mean of a few frames' embeddings.

    Without the net's weights clips pass without it, and the manifest says so (``identity:
    missing``). Notes identity_spread: the mean cosine of the frames with their mean; near 1 it was
    one person all along. The net sees the crop: embeddings of a stretched one (``CropSpec.aspect``)
    compare with each other only.

    Attributes:
        net: ``mobilefacenet`` (D = 128) or ``arcface`` (D = 512, needs InsightFace).
        store: where weights lie. threads: of the net.
    """

    net: Who
    store: Store
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "identity"
    needs = frozenset({"crop", "landmarks"})
    adds = frozenset({"identity"})

    def origin(self) -> dict[str, str]:
        """The net's name, or that it is missing."""
        return {"identity": self.net if self._load().available else "missing"}

    def setup(self) -> None:
        """Makes the net ready when its weights are there."""
        net = self._load()
        object.__setattr__(self, "_net", net if net.available else None)

    def _load(self) -> Any:
        if self.net == "arcface":
            from models.experts.insight import ArcFace

            return ArcFace(self.store, self.threads)
        from models.experts.identity import Identity

        return Identity(self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Embeds; 1:1."""
        for clip in clips:
            yield clip if self._net is None else self._embed(clip)

    def _embed(self, clip: Clip) -> Clip:
        crops, points = clip.fields["crop"], clip.fields["landmarks"]
        index = np.linspace(0, len(crops) - 1, LOOKS).round().astype(int)
        found = np.stack([self._net.embed(crops[i], points[i]) for i in index])
        mean = found.mean(0)
        mean /= max(float(np.linalg.norm(mean)), 1e-9)
        spread = round(float((found @ mean).mean()), 4)
        return clip.having(identity=mean.astype(np.float32)).noting(identity_spread=spread)
