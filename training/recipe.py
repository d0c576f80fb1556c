"""TrainRecipe: everything a training stage is told, as one frozen value that refuses nonsense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from core.recipe import later
from core.split import SPLITS

SCHEDULES = ("cosine", "constant", "one_cycle")


@dataclass(frozen=True)
class TrainRecipe:
    """One stage of one system: sizes, losses, schedule. Its hash is the run's identity.

    Attributes:
        system: key of ``models.SYSTEMS`` (or ``package.module:SYSTEM`` for one outside the table).
        stage: name of one of the system's stages.
        net: sizes for the stage's ``build``; goes into the checkpoint card.
        loss_weights: weight of every term the objective gives, by name; a term with weight 0 is
            still measured and logged. Unequal key sets are refused.
        steps: optimiser steps.
        batch: samples a step, over all workers together.
        lr: highest learning rate.
        lr_schedule: ``cosine`` (to 0), ``constant``, or ``one_cycle`` (lr/25, up to lr, to lr/1e4).
        warmup: steps of linear warm-up (for ``cosine`` and ``constant``).
        weight_decay: of AdamW, for tensors of two or more dimensions.
        betas: of AdamW.
        grad_clip: largest norm of the whole gradient; 0 switches clipping off.
        ema: decay of the averaged weights, which are what is measured and kept; 0 switches it off.
        bf16: forward pass under bfloat16 autocast.
        seed: of initial weights, batches and everything drawn by chance.
        minutes: cap on training time; 0 is none. With a cap, the schedule's progress is the larger
            of steps done and time used, so the learning rate always comes to its end.
        save_every_s: seconds between resumable states.
        log_every: steps between lines in the tracker.
        validate_every: steps between validations; 0 validates at the end only.
        held_out_samples: samples in each validation, the same ones every time.
        bad_steps: so many steps in a row with a loss or gradient that is no number stop the run.
        exclude_speakers: left out of training altogether; measured apart as ``other_people``.
        splits: whose data to train on, by ``core.split``; ``("train",)`` for a system that is to be
            compared. People of ``val`` are then measured as ``other_people``, those of ``test`` are
            not even read. Empty is everybody: a corpus of one's own, a personalised system.
        threads: CPU threads of a worker; 0 takes the setting of the machine.
        save_half: keep the final weights in float16.
        notes: lines for the checkpoint card (a loss left out and why, attribution of data).
        accumulate: a step's batch is computed in so many parts, one after the other.
        compile: back end of torch.compile for the trained nets, as ``inductor``; empty is none.
        checkpointing: activations of nets that offer it are computed again in the backward pass:
            a fifth more time for a fraction of the memory.
        sharded: weights, gradients and optimiser are spread over the workers (FSDP2); otherwise
            each worker holds all, and gradients are averaged.
        histogram_every: steps between pictures of how loss terms and gradients spread; 0 is none.
        film_frames: length of the short video of each validation; 0 is none.
    """

    system: str
    stage: str
    loss_weights: dict[str, float]
    net: dict[str, Any] = field(default_factory=dict)
    steps: int = 1000
    batch: int = 12
    lr: float = 3e-4
    lr_schedule: str = "cosine"
    warmup: int = 20
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    grad_clip: float = 1.0
    ema: float = 0.999
    bf16: bool = False
    seed: int = 0
    minutes: float = 0.0
    save_every_s: float = 60.0
    log_every: int = 20
    validate_every: int = 0
    held_out_samples: int = 64
    bad_steps: int = 20
    exclude_speakers: tuple[str, ...] = ()
    splits: tuple[str, ...] = later(())
    threads: int = 0
    save_half: bool = False
    notes: tuple[str, ...] = ()
    accumulate: int = later(1)
    compile: str = later("")
    checkpointing: bool = later(False)
    sharded: bool = later(False)
    histogram_every: int = later(0)
    film_frames: int = later(25)

    def __post_init__(self) -> None:
        for name in ("system", "stage"):
            if not getattr(self, name):
                raise InputError(f"recipe: {name} is empty; name one of models.SYSTEMS")
        self._check_losses()
        if self.lr_schedule not in SCHEDULES:
            raise InputError(
                f"recipe: lr_schedule is {self.lr_schedule!r}; use one of {', '.join(SCHEDULES)}"
            )
        self._check_numbers()
        for name, value in (("ema", self.ema), *(("betas", b) for b in self.betas)):
            if not 0 <= value < 1:
                raise InputError(f"recipe: {name} holds {value!r}; give numbers in [0, 1)")
        # JSON turns tuples into lists: a recipe read back must equal the one written.
        for name in ("betas", "exclude_speakers", "splits", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        odd = sorted(set(self.splits) - set(SPLITS))
        if odd:
            raise InputError(f"recipe: splits holds {odd[0]!r}; use some of {', '.join(SPLITS)}")

    def _check_numbers(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"recipe: {name} is {value!r}; give a number")
            if not math.isfinite(value) or value < least:
                raise InputError(f"recipe: {name} is {value!r}; give {least} or more")
        for name in _WHOLE:
            if not isinstance(getattr(self, name), int):
                raise InputError(f"recipe: {name} is {getattr(self, name)!r}; give a whole number")
        if not self.lr > 0:
            raise InputError(f"recipe: lr is {self.lr!r}; give a number above 0")

    def _check_losses(self) -> None:
        if not isinstance(self.loss_weights, Mapping) or not self.loss_weights:
            raise InputError("recipe: loss_weights is empty; give a weight for each loss term")
        for name, weight in self.loss_weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise InputError(f"recipe: loss_weights.{name} is {weight!r}; give 0 or more")
        if not any(self.loss_weights.values()):
            raise InputError("recipe: every one of loss_weights is 0; give at least one a weight")


_WHOLE = (
    "steps", "batch", "seed", "warmup", "log_every", "validate_every", "threads", "accumulate",
    "histogram_every", "film_frames",
)  # fmt: skip
_LEAST: Mapping[str, float] = {
    "steps": 1,
    "batch": 1,
    "lr": 0,
    "warmup": 0,
    "weight_decay": 0,
    "grad_clip": 0,
    "ema": 0,
    "seed": 0,
    "minutes": 0,
    "save_every_s": 0,
    "log_every": 1,
    "validate_every": 0,
    "held_out_samples": 2,
    "bad_steps": 1,
    "threads": 0,
    "accumulate": 1,
    "histogram_every": 0,
    "film_frames": 0,
}
