"""Resumable states and final checkpoints: safetensors and JSON, never pickle.

A state is a folder renamed into place when it is whole; its JSON holds the hash of each file. The
last two are kept, so that a damaged last one costs minutes, not the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from core import recipe as recipes
from core.checkpoint import CARD, WEIGHTS, CheckpointRef, read_card, write_card
from core.clip import content_hash
from core.errors import InputError
from core.files import atomic, read_json, write_json
from training import optim, sharding
from training.ema import Ema
from training.recipe import TrainRecipe

log = logging.getLogger(__name__)

STATES = "state"
KEPT = 2
_DAMAGED = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


@dataclass(frozen=True)
class Identity:
    """What makes a run the same run: its recipe, its data, the weights it starts from."""

    recipe_sha: str
    data: str
    parents: Mapping[str, str]

    @property
    def sha(self) -> str:
        """16 hex digits of all three."""
        text = json.dumps([self.recipe_sha, self.data, dict(self.parents)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(recipe: TrainRecipe, data: str, parents: Mapping[str, CheckpointRef]) -> Identity:
    """The identity of a run of ``recipe`` on shards with hash ``data``, from ``parents``."""
    hashes = {stage: content_hash(ref.weights) for stage, ref in sorted(parents.items())}
    return Identity(recipes.sha(recipe), data, hashes)


def finished(
    folder: Path, recipe: TrainRecipe, data: str, parents: Mapping[str, CheckpointRef]
) -> CheckpointRef | None:
    """The checkpoint in ``folder`` when it is what this run would make; None otherwise."""
    if not (folder / CARD).exists() or not (folder / WEIGHTS).exists():
        return None
    card, run = read_card(folder), identity(recipe, data, parents)
    found = Identity(card.recipe_sha, card.data, dict(card.parents))
    return card if found == run else None


def named_tensors(modules: Mapping[str, nn.Module]) -> dict[str, torch.Tensor]:
    """Weights and buffers as ``module.tensor``, sharing storage with the modules."""
    return {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def named_parameters(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Parameters that want gradients, as ``module.tensor``."""
    return {
        f"{name}.{key}": p
        for name, module in modules.items()
        for key, p in module.named_parameters()
        if p.requires_grad
    }


@torch.no_grad()
def fill(live: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor], what: str) -> None:
    """Copies saved tensors into live ones.

    Raises:
        InputError: names or shapes differ.
    """
    odd = sorted(live.keys() ^ saved.keys())
    odd += sorted(n for n in live.keys() & saved.keys() if live[n].shape != saved[n].shape)
    if odd:
        raise InputError(
            f"{what} does not fit the net of this recipe ({len(odd)} tensors differ, first "
            f"{odd[0]}): use the net sizes it was trained with"
        )
    for name, tensor in live.items():
        tensor.copy_(sharding.like(tensor, saved[name]))


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file.

    Raises:
        InputError: the file is missing or is no safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} is no readable safetensors file ({error}): train again"
        ) from error


def _plain(tensor: torch.Tensor, half: bool = False) -> torch.Tensor:
    """A copy in main memory, whole and in one piece."""
    kept = sharding.whole(tensor.detach()).cpu()
    kept = kept.half() if half and kept.is_floating_point() else kept.clone()
    return kept.contiguous()


@dataclass
class Run:
    """The tensors of a run in progress: what a state saves and restores.

    Attributes:
        live: weights being trained. ema: their average. optimizer, params: AdamW and what it moves.
        step: steps done. elapsed_s: training time used. skipped: steps skipped as no number.
    """

    live: Mapping[str, torch.Tensor]
    ema: Ema
    optimizer: torch.optim.Optimizer
    params: Mapping[str, nn.Parameter]
    step: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0


def _optimizer_tensors(run: Run) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value
        for name, p in run.params.items()
        for key, value in run.optimizer.state.get(p, {}).items()
    }


def _restore_optimizer(run: Run, saved: Mapping[str, torch.Tensor]) -> None:
    run.optimizer.state.clear()
    for path, value in saved.items():
        name, key = path.rsplit("/", 1)
        p = run.params[name]
        # AdamW keeps its step counts on the CPU, whatever the device.
        restored = value if key == "step" else sharding.like(p, value.to(p.device))
        run.optimizer.state[p][key] = restored


@dataclass(frozen=True)
class State:
    """A copy of a run's tensors by file, and its counters, ready to be written."""

    files: Mapping[str, Mapping[str, torch.Tensor]]
    step: int
    elapsed_s: float
    skipped: int


def snapshot(run: Run) -> State:
    """Copies the run into main memory; with sharded weights every worker must call it."""
    files: dict[str, Mapping[str, torch.Tensor]] = {
        WEIGHTS: run.live,
        "optimizer.safetensors": _optimizer_tensors(run),
    }
    if run.ema.average:
        files["ema.safetensors"] = run.ema.average
    copies = {name: {n: _plain(t) for n, t in tensors.items()} for name, tensors in files.items()}
    return State(copies, run.step, run.elapsed_s, run.skipped)


def write_state(out: Path, state: State, who: Identity) -> Path:
    """Writes a resumable state ``out/state/step_N`` and removes all but the last ``KEPT``.

    Raises:
        InputError: the folder can't be written.
    """
    final = out / STATES / f"step_{state.step:09d}"
    part = out / STATES / f".{final.name}.{os.getpid()}.part"
    for half in part.parent.glob(".step_*.part"):  # of a process that was killed
        shutil.rmtree(half, ignore_errors=True)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"can't write {part.parent}: {error}; choose another folder") from error
    for name, tensors in state.files.items():
        save_file(dict(tensors), part / name)
    hashes = {path.name: content_hash(path) for path in part.glob("*.safetensors")}
    about = {"step": state.step, "elapsed_s": state.elapsed_s, "skipped": state.skipped}
    write_json(part / "state.json", {**about, "identity": who.sha, "files": hashes})
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    for old in sorted((out / STATES).glob("step_*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


BEST = "best"


def save_best(
    out: Path, tensors: Mapping[str, torch.Tensor], half: bool, about: Mapping[str, Any]
) -> None:
    """Keeps weights as the best so far in ``out/best``; ``about`` holds identity, step, metrics."""
    copies = {n: _plain(t, half) for n, t in tensors.items()}  # every worker, where sharded
    if optim.rank():
        return
    folder = out / BEST
    (folder / CARD).unlink(missing_ok=True)
    with atomic(folder / WEIGHTS) as part:
        save_file(copies, part)
    write_json(folder / "best.json", {**about, "weights": content_hash(folder / WEIGHTS)})


def best_of(out: Path, who: Identity) -> dict[str, Any] | None:
    """What ``save_best`` was last told in this very run."""
    path = out / BEST / "best.json"
    about = read_json(path) if path.exists() else None
    if not isinstance(about, dict) or about.get("identity") != who.sha:
        return None
    weights = path.with_name(WEIGHTS)  # killed between the two, they don't belong together
    whole = weights.exists() and content_hash(weights) == about["weights"]
    return about if whole else None


def finish_best(ref: CheckpointRef, who: Identity) -> None:
    """Gives the best weights their card, beside that of the last ones."""
    about = best_of(Path(ref.uri), who)
    if about is not None:
        folder = Path(ref.uri) / BEST
        write_card(replace(ref, uri=str(folder), step=about["step"], metrics=about["metrics"]))
        (folder / "best.json").unlink()


def resume(out: Path, run: Run, who: Identity) -> bool:
    """Restores the newest whole state of this very run into ``run``; False when there is none.

    States of another recipe, data or parents are passed over and removed when the next is saved.
    """
    for folder in sorted((out / STATES).glob("step_*"), reverse=True):
        try:
            about, files = _read_state(folder)
        except (*_DAMAGED, InputError) as error:
            log.warning("%s is damaged (%s); going back to the state before it", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
            continue
        if about["identity"] != who.sha:
            log.info("%s belongs to another recipe, data or parents; not used", folder)
            shutil.rmtree(folder, ignore_errors=True)
            continue
        fill(run.live, files[WEIGHTS], str(folder))
        if run.ema.average:
            fill(run.ema.average, files["ema.safetensors"], str(folder))
        _restore_optimizer(run, files["optimizer.safetensors"])
        run.step, run.elapsed_s = int(about["step"]), float(about["elapsed_s"])
        run.skipped = int(about["skipped"])
        return True
    return False


def _read_state(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]]:
    about = read_json(folder / "state.json")
    for name, sha in about["files"].items():
        if content_hash(folder / name) != sha:
            raise ValueError(f"{name} has changed since it was written")
    return about, {name: load_file(folder / name) for name in about["files"]}


def save_final(ref: CheckpointRef, tensors: Mapping[str, torch.Tensor], half: bool) -> None:
    """Writes weights, then the card, then removes the states: a card means a finished stage."""
    folder = Path(ref.uri)
    (folder / CARD).unlink(missing_ok=True)  # an old card must not describe new weights
    with atomic(folder / WEIGHTS) as part:
        save_file({n: _plain(t, half) for n, t in tensors.items()}, part)
    write_card(ref)
    shutil.rmtree(folder / STATES, ignore_errors=True)
