"""Checkpoint folder -> predictor, whatever the system; everything wrong with it is said first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from core.checkpoint import CARD, CheckpointRef, read_card
from core.contracts import Predictor, PredictorSpec, Session
from core.errors import InputError
from core.media.audio import Sound
from core.sample import ALIKE
from core.weights import Store
from infra.settings import REPO, settings
from models.system import load_system

SHIPPED = REPO / "checkpoints" / "nano"
"""The generic checkpoint that comes with the code."""


@dataclass
class Loaded:
    """A predictor that knows its checkpoint. It is a ``core.contracts.Predictor`` itself.

    Attributes:
        spec: the predictor's.
        predictor: the system's own.
        card: of the final stage.
        generic: whether it is the shipped checkpoint, made for nobody in particular.
    """

    spec: PredictorSpec
    predictor: Predictor
    card: CheckpointRef
    generic: bool

    def prepare(self, references: np.ndarray, sound: Sound, seed: int = 0) -> Session:
        """As ``Predictor.prepare``."""
        return self.predictor.prepare(references, sound, seed)


def load(path: Path | None = None, store: Store | None = None) -> Loaded:
    """A predictor from a checkpoint folder.

    Args:
        path: a stage's folder (with ``card.json``), or a folder of such folders; None for the
            shipped ``nano``.
        store: pretrained weights; None for those that the settings name.

    Raises:
        InputError: no checkpoint there, a card or data schema of another version, weights that are
            no safetensors file, an unknown system, or another crop than the system's.
    """
    folder = SHIPPED if path is None else Path(path)
    cards = read_cards(folder)
    names = {card.system for card in cards}
    if len(names) > 1:
        raise InputError(
            f"{folder} mixes checkpoints of {' and '.join(sorted(names))}; name a folder of one"
        )
    system = load_system(cards[0].system)
    order = list(system.stages)
    card = max(cards, key=lambda c: order.index(c.stage) if c.stage in order else -1)
    predictor = system.predictor(folder, settings().store() if store is None else store)
    crop = "" if predictor.spec.crop is None else predictor.spec.crop.id
    if card.crop and crop and card.crop != crop:
        raise InputError(
            f"{folder} was trained on crops {card.crop}, its system cuts {crop}: train it again"
        )
    return Loaded(predictor.spec, predictor, card, folder.resolve() == SHIPPED.resolve())


def read_cards(folder: Path) -> list[CheckpointRef]:
    """The cards of a checkpoint folder and of the stages' folders in it, checked, at least one.

    Raises:
        InputError: as ``load``.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; name the checkpoint folder it belongs to")
    if not folder.is_dir():
        raise InputError(f"there is no checkpoint folder {folder}; check the path")
    inside = [child for child in sorted(folder.iterdir()) if (child / CARD).is_file()]
    own = [folder] if (folder / CARD).is_file() or not inside else []
    return [_checked(read_card(place)) for place in [*own, *inside]]


def _checked(card: CheckpointRef) -> CheckpointRef:
    """The card, once its schema and the header of its weights were found right."""
    if card.schema_version not in ALIKE:
        raise InputError(
            f"{Path(card.uri) / CARD} has data schema version {card.schema_version}, this code "
            f"reads {ALIKE[-1]}: train it again or use a matching release"
        )
    if not card.weights.is_file():
        raise InputError(f"{card.weights} is missing; copy the whole checkpoint folder")
    try:
        with safe_open(str(card.weights), framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{card.weights} is not a safetensors file ({error}); copy the checkpoint again"
        ) from error
    if not names:
        raise InputError(f"{card.weights} holds no tensors; copy the checkpoint again")
    return card
