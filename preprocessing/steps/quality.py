"""How good the crop looks, without a reference; rejects below a limit when one is set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.clip import Clip
from core.weights import Store


@dataclass(frozen=True)
class Quality:
    """Notes quality: the mean score of the first, middle and last crop.

    Attributes:
        expert: name for ``load_quality``. store: where weights lie. threads: of the net.
        least_hyper_iqa: lowest HyperIQA score to keep (0 to 100; LatentSync keeps 40); 0 is off.
        most_niqe: highest NIQE score to keep; 0 is off. Each limit counts for its own measure.
    """

    expert: str
    store: Store
    least_hyper_iqa: float = 0.0
    most_niqe: float = 0.0
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "quality"
    needs = frozenset({"crop"})
    adds = frozenset[str]()

    def origin(self) -> dict[str, str]:
        """The measure's name."""
        return {"quality": str(self._load().name)}

    def setup(self) -> None:
        """Loads the judge."""
        object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.quality import load_quality

        return load_quality(self.expert, self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Looks; 1:1."""
        for clip in clips:
            crops = clip.fields["crop"]
            looked_at = [crops[0], crops[len(crops) // 2], crops[-1]]
            found = sum(self._net.score(crop) for crop in looked_at) / len(looked_at)
            clip = clip.noting(quality=round(found, 3))
            higher = self._net.better == "higher"
            limit = self.least_hyper_iqa if higher else self.most_niqe
            bad = limit and (found < limit if higher else found > limit)
            reason = "image quality too low"
            yield clip.rejected(self.name, reason, round(found, 3), limit) if bad else clip
