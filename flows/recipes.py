"""Recipes of the main job: how much data, which stages, what to sync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core import recipe as recipes
from training.recipe import TrainRecipe
from training.recipes import flashlips


@dataclass(frozen=True)
class MainJob:
    """One end-to-end run.

    Attributes:
        name: of the run and its folder under ``runs``.
        identities: people in the synthetic corpus; the last ``held_out_people`` are never trained
            on, and the first of those is the one that gets synced.
        seconds: of each clip. clips: a person.
        seed: of the corpus.
        stages: training recipes in order.
        preprocessing: recipe of the shards.
        measured: clips that the report is about.
    """

    name: str
    identities: int
    held_out_people: int
    seconds: float
    clips: int
    seed: int
    stages: tuple[TrainRecipe, ...]
    preprocessing: str = "preprocessing.recipes:flashlips"
    measured: int = 8

    @property
    def corpus(self) -> str:
        """Name of the corpus' folder under ``runs/corpus``: equal corpora are rendered once."""
        return f"{self.identities}x{self.clips}x{self.seconds:g}s-{self.seed}"

    def speakers(self) -> tuple[str, ...]:
        """Names of the people never trained on."""
        first = self.identities - self.held_out_people
        return tuple(f"id{i:02d}" for i in range(first, self.identities))

    def with_speakers_held_out(self) -> tuple[TrainRecipe, ...]:
        """The stages, told whom to leave out."""
        return tuple(replace(r, exclude_speakers=self.speakers()) for r in self.stages)


def demo() -> MainJob:
    """The main job within 15 minutes of two CPU cores."""
    return MainJob("demo", 8, 1, 8.0, 1, 0, flashlips.demo(), measured=5)


def nano() -> MainJob:
    """The shipped checkpoint: the whole synthetic corpus."""
    return MainJob("nano", 30, 4, 10.0, 1, 0, tuple(recipe() for recipe in flashlips.NANO))


def debug() -> MainJob:
    """Every box of the DAG at its smallest, to see that all holds together."""
    stages = tuple(replace(r, steps=4, batch=4, held_out_samples=8) for r in flashlips.demo())
    return MainJob("debug", 3, 1, 5.0, 1, 0, stages)


def load_job(recipe: str, overrides: Sequence[str] = ()) -> MainJob:
    """A job's recipe with overrides applied."""
    job: MainJob = recipes.override(recipes.load(recipe), overrides)
    return job
