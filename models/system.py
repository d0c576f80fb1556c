"""System and Stage: what a folder in ``models/`` offers to training, inference and evaluation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.checkpoint import CheckpointRef
from core.contracts import Objective, Predictor
from core.errors import InputError
from core.weights import Store
from models import SYSTEMS

Build = Callable[
    [Mapping[str, Any], Mapping[str, CheckpointRef], Mapping[str, Any], Store], Objective
]
"""(net, parents by stage, origin of the data, weights) -> objective."""


@dataclass(frozen=True)
class Stage:
    """One training stage.

    Attributes:
        name: also the name of its checkpoint folder.
        needs: fields of a sample it reads.
        more: further ones that depend on the recipe's ``net``.
        after: stages whose checkpoints it starts from or uses frozen.
        build: makes the objective.
    """

    name: str
    needs: tuple[str, ...]
    after: tuple[str, ...]
    build: Build
    more: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda net: ()

    def fields(self, net: Mapping[str, Any]) -> tuple[str, ...]:
        """Fields of a sample it reads, for a recipe's ``net``."""
        return (*self.needs, *self.more(net))


@dataclass(frozen=True)
class System:
    """A lip-sync system: its stages in training order, and how to load it for use.

    Attributes:
        name: key in ``SYSTEMS``.
        stages: by name, in training order.
        predictor: (system folder, weights) -> what the engine edits videos with.
        renderers: (system folder, weights) -> what draws held-out frames for evaluation.
    """

    name: str
    stages: Mapping[str, Stage]
    predictor: Callable[[Path, Store], Predictor]
    renderers: Callable[[Path, Store], Any] | None = None


def load_system(name: str) -> System:
    """The system registered under ``name``.

    Raises:
        InputError: no such system.
    """
    if name not in SYSTEMS:
        raise InputError(f"unknown system {name!r}; there are: {', '.join(SYSTEMS)}")
    module, _, attribute = SYSTEMS[name].partition(":")
    system: System = getattr(importlib.import_module(module), attribute)
    return system
