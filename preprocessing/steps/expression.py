"""What the face does: expression features, head pose, mouth opening."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.weights import Store

LANDMARKS = "landmarks"


@dataclass(frozen=True)
class Expression:
    """Adds expression (T, E), pose (T, 3) in degrees and opening (T,), float32.

    Attributes:
        encoder: what gives expression features: ``landmarks``, their geometry, or the file of a
            net (``models.experts.expression_net``).
        store: where weights lie. threads: of the net.
    """

    encoder: str = LANDMARKS
    store: Store = field(default_factory=lambda: Store(()))
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "expression"
    needs = frozenset({"crop", "landmarks"})
    adds = frozenset({"expression", "pose", "opening"})

    def origin(self) -> dict[str, str]:
        """The net and its hash, unless it is the landmarks' geometry."""
        return {} if self.encoder == LANDMARKS else {"expression": str(self._load().name)}

    def setup(self) -> None:
        """Finds the net, if there is one."""
        if self.encoder != LANDMARKS:
            object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.expression_net import ExpressionNet

        return ExpressionNet(self.encoder, self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Measures; 1:1."""
        from core.media.shapes import head_pose, opening
        from models.experts.expression import expression

        for clip in clips:
            points = clip.fields["landmarks"]
            pose = np.asarray(head_pose(points), np.float32)
            features = (
                expression(points) if self._net is None else self._net.features(clip.fields["crop"])
            )
            yield clip.having(
                expression=np.asarray(features, np.float32),
                pose=pose,
                opening=np.asarray(opening(points), np.float32),
            ).noting(yaw_most=round(float(np.abs(pose[:, 0]).max()), 1))
