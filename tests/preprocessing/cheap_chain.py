"""A chain without nets, loaded by dotted name as a newcomer's would be; it also notes its calls."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from core.clip import Clip
from preprocessing.plan import Placed
from preprocessing.recipes import PreprocessRecipe
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.scenes import Scenes
from preprocessing.steps.segment import Segment


@dataclass(frozen=True)
class Tile:
    """Shrinks whole frames; raises for a clip whose name says so."""

    pause_s: float = 0.0
    name = "tile"
    needs = frozenset({"frames", "sound_around"})
    adds = frozenset({"crop"})

    def setup(self) -> None:
        pass

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        for clip in clips:
            _called(Path(clip.source).name)
            if "bug" in clip.source:
                raise ZeroDivisionError("a bug of ours")
            time.sleep(self.pause_s)
            crops = [
                cv2.resize(f, (16, 16), interpolation=cv2.INTER_AREA) for f in clip.fields["frames"]
            ]
            yield clip.having(crop=np.stack(crops), frames=None, sound_around=None)


def steps(recipe: PreprocessRecipe, store: object) -> list[Placed]:
    pause = float(os.environ.get("CHEAP_PAUSE", "0"))
    limit_s = float(os.environ.get("CHEAP_LIMIT", "900"))
    return [
        Placed(Probe(min_s=recipe.min_s), limit_s=limit_s),
        Placed(Segment(longest_s=recipe.segment_s), limit_s=limit_s),
        Placed(Read(no_sound=recipe.no_sound), limit_s=limit_s),
        Placed(Tile(pause), cpus=0.5, limit_s=limit_s),
    ]


def with_scenes(recipe: PreprocessRecipe, store: object) -> list[Placed]:
    probe, *others = steps(recipe, store)
    return [probe, Placed(Scenes(min_s=recipe.min_s)), *others]


@dataclass(frozen=True)
class Grey:
    """The crops' mean grey, from crops that exist; rejects the one that the environment names."""

    pause_s: float = 0.0
    name = "grey"
    needs = frozenset({"crop"})
    adds = frozenset({"opening"})

    def setup(self) -> None:
        pass

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        for clip in clips:
            _called(clip.id)
            time.sleep(self.pause_s)
            if clip.id == os.environ.get("CHEAP_REJECT"):
                yield clip.rejected(self.name, "named", 1.0, 0.0)
                continue
            grey = clip.fields["crop"].mean((1, 2, 3)).astype(np.float32)
            yield clip.having(opening=grey).noting(grey=1)


def more(recipe: PreprocessRecipe, store: object) -> list[Placed]:
    return [Placed(Grey(float(os.environ.get("CHEAP_PAUSE", "0"))), cpus=0.5)]


def cheap() -> PreprocessRecipe:
    return PreprocessRecipe(steps="cheap_chain:steps")


def grey() -> PreprocessRecipe:
    return PreprocessRecipe(steps="cheap_chain:more")


def _called(name: str) -> None:
    """Notes a call in the file that CHEAP_CALLS names."""
    calls = os.environ.get("CHEAP_CALLS")
    if calls:
        with Path(calls).open("a") as file:
            file.write(f"{name}\n")
