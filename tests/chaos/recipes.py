"""The dummy's training, slow enough to be broken: SLOW_PAUSE seconds a step."""

from __future__ import annotations

from tests.training import dummy
from training.recipe import TrainRecipe

STEPS, PAUSE_S = 60, 0.25  # a worker that has lost its driver lives for about four seconds


def slow() -> TrainRecipe:
    """A state every third step or so, when it is slow."""
    return dummy.recipe(
        system="tests.training.slow:SYSTEM", steps=STEPS, save_every_s=2.5 * PAUSE_S
    )
