"""Moves the sound to where the lips are; rejects clips in which the two don't belong together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.sample import FPS, SAMPLE_RATE
from core.weights import Store

FRAME = SAMPLE_RATE // FPS


@dataclass(frozen=True)
class Sync:
    """Shifts sound_around to offset zero; notes sync_offset (frames), sync_confidence.

    Clips without sound pass. Without the expert's weights all do, and the manifest says so.

    Attributes:
        expert: name for ``load_sync``. store: where weights lie. threads: of the net.
        confidence: least to keep (SyncNet's: median minus least distance).
        most: largest offset to correct, in frames of 40 ms; beyond it the clip is rejected.
    """

    expert: str
    store: Store
    confidence: float = 3.0
    most: int = 6
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "sync"
    needs = frozenset({"frames", "mesh", "sound_around"})
    adds = frozenset[str]()

    def origin(self) -> dict[str, str]:
        """The expert's name, or that it is skipped and why."""
        net = self._load()
        return {"sync": f"skipped: no weights of {self.expert}" if net is None else str(net.name)}

    def setup(self) -> None:
        """Loads the expert."""
        object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.sync import load_sync

        return load_sync(self.expert, self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Measures, rejects, shifts; 1:1."""
        for clip in clips:
            skip = self._net is None or not clip.facts.get("has_sound", True)
            yield clip if skip else self._synced(clip)

    def _synced(self, clip: Clip) -> Clip:
        from models.experts.sync import synchrony

        mesh, around = clip.fields["mesh"], clip.fields["sound_around"]
        heard = _own(around["sound"], around["offset"], len(mesh))
        found = synchrony(self._net.distances(clip.fields["frames"], mesh, heard))
        clip = clip.noting(
            sync_offset=found.offset,
            sync_confidence=round(found.confidence, 3),
        )
        if found.confidence < self.confidence:
            reason = "lips and sound don't fit together"
            return clip.rejected(self.name, reason, round(found.confidence, 3), self.confidence)
        if abs(found.offset) > self.most:
            return clip.rejected(
                self.name, "sound too far off the lips", abs(found.offset), self.most
            )
        moved = delayed(around["sound"], found.offset * FRAME)
        return clip.having(sound_around={**around, "sound": moved})


def _own(sound: np.ndarray, first: int, frames: int) -> np.ndarray:
    """The segment's own sound out of the sound around it, (640 frames,)."""
    own = sound[first * FRAME : (first + frames) * FRAME]
    padded: np.ndarray = np.pad(own, (0, frames * FRAME - len(own)))
    return padded


def delayed(sound: np.ndarray, samples: int) -> np.ndarray:
    """Sound that comes ``samples`` later (earlier when negative); its start stays its start."""
    if samples <= 0:
        return sound[-samples:]
    moved: np.ndarray = np.pad(sound, (samples, 0))
    return moved
