"""Checkpoints: a folder of ``weights.safetensors`` and ``card.json`` that says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import read_json, write_json

CARD = "card.json"
WEIGHTS = "weights.safetensors"
CHECKPOINT_VERSION = 1


@dataclass(frozen=True)
class CheckpointRef:
    """The card beside a stage's weights, and where it lies.

    Attributes:
        uri: folder that holds ``card.json`` and ``weights.safetensors``; not stored in the card.
        system: key in ``models.SYSTEMS``.
        stage: name of the stage that made it.
        step: optimiser steps done.
        recipe: the resolved recipe as JSON; its hash is the run's identity.
        net: the net's sizes, enough to build it again without the recipe's code.
        crop: crop spec's name. codec: codec's name and hash. Both compared before use.
        parents: hash of the weights of each stage it started from, by stage.
        data: hash of the shard manifest it was trained on.
        metrics: held-out measures at the time of saving.
        notes: what a person should know (a loss left out and why, licence, attribution).
    """

    uri: str
    system: str
    stage: str
    step: int
    recipe: Mapping[str, Any]
    recipe_sha: str
    net: Mapping[str, Any]
    crop: str
    codec: str
    schema_version: int
    parents: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    version: int = CHECKPOINT_VERSION

    @property
    def weights(self) -> Path:
        """Path of the safetensors file."""
        return Path(self.uri) / WEIGHTS


def write_card(ref: CheckpointRef) -> None:
    """Writes ``card.json`` into ``ref.uri``; the weights must already be there."""
    assert ref.weights.exists(), f"{ref.weights} must be written before its card"
    card = asdict(ref)
    del card["uri"]
    write_json(Path(ref.uri) / CARD, card)


def read_card(folder: Path) -> CheckpointRef:
    """The card of a checkpoint folder.

    Raises:
        InputError: no card, a card of another version, or unknown or missing keys.
    """
    path = folder / CARD
    if not path.exists():
        raise InputError(f"{folder} is no checkpoint: it holds no {CARD}; name a checkpoint folder")
    raw = read_json(path)
    version = raw.get("version") if isinstance(raw, dict) else None
    if version != CHECKPOINT_VERSION:
        raise InputError(
            f"{path} has checkpoint version {version}, this code reads {CHECKPOINT_VERSION}: "
            "train it again or use a matching release"
        )
    known = {f.name for f in fields(CheckpointRef)} - {"uri"}
    if raw.keys() != known:
        odd = ", ".join(sorted(raw.keys() ^ known))
        raise InputError(f"{path} has missing or unknown keys ({odd}): it is no card of ours")
    return CheckpointRef(uri=str(folder), **{**raw, "notes": tuple(raw["notes"])})
