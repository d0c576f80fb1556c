"""Training data for a codec, with the loop's own interface: patches instead of shards."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from core.clip import content_hash
from core.contracts import BatchRequest
from training.patches import PHOTOS, Group, augment, cut, load_frames

HELD_OUT = 0.2
"""Last part of each video's frames that is only measured on; photos are trained on whole."""

Derive = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class PictureData:
    """Endless patches, replayed from a moving window of chunks.

    Drawing a patch and asking the teacher for its latents costs almost a training step, so step t
    draws from the patches of the last ``window`` chunks and only one chunk of ``batch / replay``
    patches is new. A batch stays a pure function of (seed, step, rank): chunk c is made from
    (seed, rank, c) alone, and what was made is only cached.

    Args:
        groups: where patches come from.
        derive: adds per-patch fields (the teacher's latents), given ``{"patch": (N,S,S,3)}``.
        size: side of a patch, a multiple of 8.
        replay: how often a patch is used on average.
        window: chunks to draw from.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        derive: Derive,
        size: int = 64,
        replay: int = 3,
        window: int = 64,
    ) -> None:
        self.groups, self.derive = tuple(groups), derive
        self.size, self.replay, self.window = size, replay, window
        self._chunks: OrderedDict[tuple[int, ...], dict[str, np.ndarray]] = OrderedDict()
        self._train: list[list[list[np.ndarray]]] = []
        self._held: list[np.ndarray] = []
        for group in self.groups:
            self._train.append([])
            for path in group.files:
                frames = load_frames(path)
                kept = len(frames)
                if path.suffix.lower() not in PHOTOS and kept > 1:
                    kept = max(1, int(kept * (1 - HELD_OUT)))
                self._train[-1].append(frames[:kept])
                self._held += frames[kept:][:1]

    def hash(self) -> str:
        """16 hex digits over the sources' contents and how they are drawn from."""
        digest = hashlib.sha256(f"{self.size} {self.replay} {self.window}".encode())
        for group in self.groups:
            digest.update(f"{group.name} {group.share}".encode())
            for path in group.files:
                digest.update(content_hash(path).encode())
        return digest.hexdigest()[:16]

    def parts(self) -> tuple[str, ...]:
        """``held_out`` when there are videos."""
        return ("held_out",) if self._held else ()

    def batch(
        self, request: BatchRequest, size: int, seed: int, step: int, rank: int = 0
    ) -> dict[str, Any]:
        """``patch`` (B,S,S,3 uint8) and what ``derive`` adds; equal arguments, equal batches."""
        count = max(1, size // self.replay)
        least = -(-2 * size // count)
        first = max(-least, step - self.window)
        pool = [self._chunk(seed, rank, c, count) for c in range(first, step + 1)]
        rng = np.random.default_rng([seed, rank, step, 1])
        index = rng.choice(len(pool) * count, size=size, replace=False)
        rows = {
            name: np.stack([pool[i // count][name][i % count] for i in index]) for name in pool[0]
        }
        return _tensors(rows)

    def _chunk(self, seed: int, rank: int, number: int, count: int) -> dict[str, np.ndarray]:
        key = (seed, rank, number, count)
        if key not in self._chunks:
            rng = np.random.default_rng([seed, rank, number + 2**16, 2])
            self._chunks[key] = self._derived(self._draw(count, rng))
            while len(self._chunks) > 2 * self.window:
                self._chunks.popitem(last=False)
        return self._chunks[key]

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        shares = np.array([group.share for group in self.groups])
        patches = []
        for pick in rng.choice(len(self.groups), size=count, p=shares / shares.sum()):
            files = self._train[pick]
            frames = files[rng.integers(len(files))]
            frame = frames[rng.integers(len(frames))]
            patches.append(augment(cut(frame, self.size, rng), rng))
        return np.stack(patches)

    def _derived(self, patches: np.ndarray) -> dict[str, np.ndarray]:
        sample: dict[str, Any] = {"patch": patches}
        sample.update(self.derive(sample))
        return {name: np.asarray(value) for name, value in sample.items()}

    def held_out(
        self, part: str, request: BatchRequest, samples: int, size: int
    ) -> Iterator[dict[str, Any]]:
        """Fixed batches of whole held-out frames, shrunk to twice a patch's side."""
        assert part == "held_out", part
        side = 2 * self.size
        chosen = self._held[: max(1, samples)]
        for start in range(0, len(chosen), size):
            crops = [_middle(frame, side) for frame in chosen[start : start + size]]
            yield _tensors(self._derived(np.stack(crops)), start)


def _middle(frame: np.ndarray, side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    short = min(height, width)
    x0, y0 = (width - short) // 2, (height - short) // 2
    window = frame[y0 : y0 + short, x0 : x0 + short]
    return cv2.resize(window, (side, side), interpolation=cv2.INTER_AREA)


def _tensors(rows: Mapping[str, np.ndarray], first: int = 0) -> dict[str, Any]:
    batch: dict[str, Any] = {name: torch.from_numpy(value) for name, value in rows.items()}
    # One row a file, so a row's number stands for whom it shows.
    batch["speaker"] = torch.arange(first, first + len(batch["patch"]))
    return batch


def sources_of(folders: Sequence[Path], rendered: Sequence[Path]) -> str:
    """A line for the checkpoint card: names of what the patches came from."""
    names = [path.name for path in (*folders, *rendered)]
    return "patches from: " + ", ".join(names or ["packaged photos only"])
