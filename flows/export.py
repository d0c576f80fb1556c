"""``flashlips export``: a finished system as one folder that another machine can open.

It holds each stage's weights and card, our codec, ``config.json`` (what it is, the hash of every
file, which pretrained weights to bring) and a model card. Pretrained weights of others stay out.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.checkpoint import CARD, WEIGHTS, CheckpointRef, read_card
from core.clip import content_hash
from core.errors import InputError
from core.files import write_bytes, write_json
from core.weights import REGISTRY, Weight
from flows.model_card import model_card
from inference.load import read_cards
from models.experts.codec import EXPORTED_SLIM, SLIM_FOLDER
from models.system import load_system

CONFIG = "config.json"
FORMAT = 1
_ALWAYS = ("face_detection_full_range_sparse", "face_detection_short_range", "face_landmark")


def export(system: Path, out: Path) -> Path:
    """Writes ``out``, whole or not at all; ``inference.load`` opens it.

    Args:
        system: folder of a system's stages, all finished.
        out: a folder that is not there yet.

    Raises:
        InputError: a stage is not finished or unreadable, ``out`` is there, or can't be written.
    """
    cards = finished_stages(system)
    if out.exists():
        raise InputError(f"{out} is there already: name a new folder")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        for stage, card in cards.items():
            _copy(Path(card.uri), part / stage)
        if codec_of(cards) == "slim":
            _copy(SLIM_FOLDER, part / EXPORTED_SLIM)
        wanted = pretrained(cards)
        write_bytes(part / "README.md", model_card(cards, wanted).encode())
        write_json(part / CONFIG, config(cards, wanted, part))
        part.rename(out)
    except OSError as error:
        raise InputError(f"can't write {out}: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def finished_stages(folder: Path) -> dict[str, CheckpointRef]:
    """The cards of all stages of the system in ``folder``, in training order.

    Raises:
        InputError: no system there, or a stage of it has no card: its training has not ended.
    """
    inside = read_cards(folder)
    order = tuple(load_system(inside[0].system).stages)
    missing = [stage for stage in order if not (folder / stage / CARD).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not finished: {' and '.join(missing)} of {', '.join(order)} "
            f"{'has' if len(missing) == 1 else 'have'} no {CARD}; train to the end, then export"
        )
    cards = {stage: read_card(folder / stage) for stage in order}
    if len({(card.system, card.codec, card.crop) for card in cards.values()}) > 1:
        raise InputError(f"{folder} mixes stages of several systems, codecs or crops; name another")
    return cards


def codec_of(cards: Mapping[str, CheckpointRef]) -> str:
    """Name of the codec that the stages work in."""
    return next(iter(cards.values())).codec.partition("@")[0]


def pretrained(cards: Mapping[str, CheckpointRef]) -> list[Weight]:
    """Weights of others that using the system needs, from our registry."""
    speech = {str(card.net.get("speech_encoder", "")) for card in cards.values()}
    names = [*_ALWAYS]
    if any("whisper-tiny.en" in name for name in speech):
        names.append("whisper_tiny_en")
    if codec_of(cards) == "taef2":
        names += ["taef2_encoder", "taef2_decoder"]
    return [REGISTRY[name] for name in names]


def config(
    cards: Mapping[str, CheckpointRef], wanted: list[Weight], folder: Path
) -> dict[str, Any]:
    """What ``folder`` is, for programs; its net sizes are in the cards."""
    last = list(cards.values())[-1]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "format": FORMAT,
        "system": last.system,
        "stages": list(cards),
        "codec": last.codec,
        "crop": last.crop,
        "pretrained": {w.name: {"sha256": w.sha256, "licence": w.licence} for w in wanted},
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": content_hash(path),
            }
            for path in files
        },
    }


def _copy(stage: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in (WEIGHTS, CARD):
        shutil.copyfile(stage / name, target / name)
