"""The stages of FlashLips in training order, and the system as the house knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.contracts import Predictor
from core.weights import Store
from models.flashlips.audio_to_lips import AudioToLips
from models.flashlips.condition import fields
from models.flashlips.distillation import Distillation
from models.flashlips.lips_change import LipsChange
from models.flashlips.reconstruction import FIELDS, Reconstruction
from models.system import Stage, System

RECONSTRUCTION = Stage("reconstruction", FIELDS, (), Reconstruction)
DISTILLATION = Stage("distillation", ("crop", "expression"), ("reconstruction",), Distillation)
LIPS_CHANGE = Stage("lips_change", FIELDS, ("reconstruction",), LipsChange)
AUDIO_TO_LIPS = Stage(
    "audio_to_lips", ("crop", "expression", "speech"), ("reconstruction",), AudioToLips, fields
)


def predictor(folder: Path, store: Store) -> Predictor:
    """The trained system in ``folder``, ready to edit (imported late: it loads the experts)."""
    from models.flashlips.predictor import FlashLipsPredictor

    return FlashLipsPredictor(folder, store)


def renderers(folder: Path, store: Store) -> Any:
    """Draws held-out frames for evaluation."""
    from models.flashlips.renderers import FlashLipsRenderers

    return FlashLipsRenderers(folder, store)


SYSTEM = System(
    "flashlips",
    {s.name: s for s in (RECONSTRUCTION, DISTILLATION, LIPS_CHANGE, AUDIO_TO_LIPS)},
    predictor,
    renderers,
)
