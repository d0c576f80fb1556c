"""What the face does, from landmark geometry: expression features, head pose, mouth opening."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.clip import Clip


@dataclass(frozen=True)
class Expression:
    """Adds expression (T, E), pose (T, 3) in degrees and opening (T,), float32."""

    name = "expression"
    needs = frozenset({"landmarks"})
    adds = frozenset({"expression", "pose", "opening"})

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Measures; 1:1."""
        from core.media.shapes import head_pose, opening
        from models.experts.expression import expression

        for clip in clips:
            points = clip.fields["landmarks"]
            pose = np.asarray(head_pose(points), np.float32)
            yield clip.having(
                expression=np.asarray(expression(points), np.float32),
                pose=pose,
                opening=np.asarray(opening(points), np.float32),
            ).noting(yaw_most=round(float(np.abs(pose[:, 0]).max()), 1))
