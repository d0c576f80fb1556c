"""LipScore: do the lips move as those do that the sound came from?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.errors import InputError
from evaluation.metrics.faces import filled
from evaluation.metrics.features import Features, content
from evaluation.metrics.rows import finite_mean
from evaluation.videos import Kind, Seen, VideoCase

log = logging.getLogger(__name__)


class LipScore:
    """Cosine of what a lip reader has in mind of two videos, frame by frame, -1 to 1; higher is
    better.

    Net: the visual encoder of auto_avsr (weight ``auto_avsr_vsr``), 768 numbers a frame, after
    KeySync's ``lipscore.py``. KeySync names a checkpoint that is published nowhere
    (``..._base_updated.pth``); numbers from ``..._base.pth`` are no table of theirs. Reference:
    ``case.audio_video``, whose lips spoke the sound: in ``self`` the source itself, in ``cross``
    the other clip. A silent case has none.

    Preprocessing: ``models.experts.lip_reader.mouth_crops`` on the crops and their mesh (grey, 88
    of 96 px around the mouth on a mean face of 256 px, landmarks averaged over 6 frames each way).
    The viewing must be at 25 fps. Frames without a face lie between their neighbours, as KeySync
    does it, so a broken face is read and scores low rather than being left out. A video in which
    the mouth is never found, or far from where faces have it, is NaN in all its frames.

    What fools it: the encoder keeps identity and head pose in mind too, so two videos of one person
    are alike whatever they say: compare ``self`` with ``self`` and ``cross`` with ``cross``, and
    look at an unedited pair's value.

    Args:
        weights: safetensors file with the published keys.
        features: folder where vectors are kept by content; None keeps none.
        threads: of torch.
        name: another one for another net's weights.
    """

    better: Literal["higher", "lower", "one"] = "higher"
    needs: tuple[str, ...] = ("auto_avsr_vsr",)
    kinds: tuple[Kind, ...] = ("self", "cross")

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = "lip_score"
    ) -> None:
        self.name, self._weights, self._threads = name, weights, threads
        self._kept = Features(features, "auto_avsr@1", weights)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``score`` (T,)."""
        from models.experts.lip_reader import agreement

        assert case.audio_video is not None, f"{case.name}: nobody speaks the sound"
        ours, theirs = self._vectors(case.output), self._vectors(case.audio_video)
        if not len(ours) or not len(theirs):
            return {"score": np.full(len(case.output), np.nan)}
        return {"score": agreement(ours, theirs)}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lip_score``: the mean over videos of each one's mean, as KeySync's; and
        ``lip_score_found``, the share of videos that could be read."""
        means = [finite_mean(row["score"]) for row in rows]
        return {
            self.name: finite_mean(means),
            f"{self.name}_found": float(np.isfinite(means).mean()),
        }

    def _vectors(self, seen: Seen) -> np.ndarray:
        """(T,768), or (0,768) where there is no mouth to read."""
        return self._kept.of(content(seen.crops, seen.mesh), lambda: self._compute(seen))

    def _compute(self, seen: Seen) -> np.ndarray:
        from models.experts.lip_reader import mouth_crops

        mesh = filled(seen.mesh)
        try:
            if mesh is None:
                raise InputError("no frame shows a face")
            mouths = mouth_crops(seen.crops, mesh)
        except InputError as error:
            log.warning("%s: its lips are not read: %s", seen.path, error)
            return np.zeros((0, self._net.dim), np.float32)
        vectors: np.ndarray = self._net.embed(mouths.astype(np.float32))
        return vectors

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the vectors are not kept yet.
        from models.experts.lip_reader import LipReader

        return LipReader(self._weights, self._threads)
