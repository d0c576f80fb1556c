"""The parts of the face, a class id for each pixel of the crop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from core.clip import Clip
from core.weights import Store

Parser = Literal["landmarks", "segformer"]


@dataclass(frozen=True)
class Parsing:
    """Adds parsing (T, S, S) uint8, ids of ``core.media.parsing.CLASSES``.

    Attributes:
        backend: ``landmarks`` draws outlines of the mesh and needs no weights (skin, brows, eyes,
            lips and mouth); ``segformer`` asks a net, frame by frame.
        store: where weights lie. weights: of the net, see ``models.experts.parsing.SegFormer``.
        threads: of the net.
    """

    backend: Parser
    store: Store
    weights: str = ""
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "parsing"
    needs = frozenset({"crop", "landmarks"})
    adds = frozenset({"parsing"})

    def origin(self) -> dict[str, str]:
        """The backend and its weights' hash."""
        if self.backend == "landmarks":
            return {"parsing": "landmarks@1"}
        return {"parsing": str(self._load().id)}

    def setup(self) -> None:
        """Loads the net, if there is one."""
        if self.backend == "segformer":
            object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.parsing import SegFormer

        return SegFormer(self.weights, self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Parses; 1:1."""
        for clip in clips:
            yield clip.having(parsing=self._parse(clip))

    def _parse(self, clip: Clip) -> np.ndarray:
        from core.media.parsing import polygon_parsing

        crops = clip.fields["crop"]
        if self._net is not None:  # one frame at a time: a batch would change the last bits
            return np.stack([self._net.parse(crop) for crop in crops])
        size = crops.shape[1]
        return np.stack([polygon_parsing(p, size) for p in clip.fields["landmarks"]])
