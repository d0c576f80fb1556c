"""A tiny system: a linear net hears ``speech`` and says ``opening``. Real shards, real training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from core.contracts import BatchRequest, FramePair, Sequence60
from core.shards import Manifest, write_manifest, write_shard
from models.system import Stage
from training.recipe import TrainRecipe

DIM = 6


def write_clips(
    folder: Path, people: int = 6, frames: int = 120, origin: dict | None = None
) -> Path:
    """Shards of ``people`` clips; each clip of 2 segments that follow one another."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=DIM)
    samples = []
    for person in range(people):
        speech = np.cumsum(rng.normal(size=(frames, DIM)), 0) * 0.3
        opening = np.tanh(speech @ w).astype(np.float32)
        half = frames // 2
        for first in (0, half):
            span = slice(first, first + half)
            info = {
                "clip": f"clip{person}",
                "speaker": f"person{person}",
                "first_frame": first,
                "clip_frames": frames,
            }
            crop = np.zeros((half, 4, 4, 3), np.uint8)
            crop[:] = np.arange(first, first + half, dtype=np.uint8)[:, None, None, None]
            samples.append({
                "key": f"clip{person}-{first:04d}", "info": info, "crop": crop,
                "speech": speech[span].astype(np.float16), "opening": opening[span],
            })  # fmt: skip
    samples.sort(key=lambda s: hashlib.sha256(s["key"].encode()).digest())  # as ids are: any order
    shard = write_shard(folder / "shard-000000.tar", samples)
    made = {"crop": "dummy@4", "codec": "none"} if origin is None else origin
    write_manifest(folder, Manifest(made, [shard], {"ok": people}))
    return folder


class Objective:
    """Squared error of the opening; ``sick_from`` makes losses nan from that call on."""

    terms = frozenset({"mse", "mae"})

    def __init__(self, view: Any, sick_from: int = -1, sick_for: int = 10**9) -> None:
        self.net = nn.Sequential(nn.Linear(DIM, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
        self.view, self.calls = view, 0
        self.sick = range(sick_from, sick_from + sick_for) if sick_from >= 0 else range(0)

    def trainable(self):
        return {"net": self.net}

    def frozen(self):
        return {}

    def derive(self, sample):
        return {"loud": np.abs(sample["speech"]).mean(1)}

    def request(self, rng):
        return BatchRequest(self.view, ("speech", "opening", "loud"))

    def _error(self, batch):
        return torch.tanh(self.net(batch["speech"])[..., 0]) - batch["opening"]

    def losses(self, batch, rng):
        error = self._error(batch) + 0.01 * torch.randn(batch["opening"].shape, generator=rng)
        terms = {"mse": error.square().mean(), "mae": error.abs().mean()}
        if self.calls in self.sick:
            terms["mse"] = terms["mse"] * float("nan")
        self.calls += 1
        return terms

    def measure(self, batch, rng):
        error = self._error(batch)
        copied = batch["opening_reference"]
        if isinstance(self.view, Sequence60):
            copied = copied.mean(1, keepdim=True)
            count = batch["target"].float()
            return {
                "error": (error.square() * count).sum(1) / count.sum(1),
                "copy_error": ((copied - batch["opening"]).square() * count).sum(1) / count.sum(1),
            }
        return {"error": error.square(), "copy_error": (copied - batch["opening"]).square()}

    def picture(self, batch):
        return np.full((8, 8, 3), 200, np.uint8)


def _build(view):
    def build(net, parents, origin, store):
        return Objective(view, **net)

    return build


NEEDS = ("speech", "opening")
SYSTEM = SimpleNamespace(
    name="dummy",
    stages={
        "first": Stage("first", NEEDS, (), _build(FramePair())),
        "second": Stage("second", NEEDS, ("first",), _build(Sequence60(20, 5, 2))),
        "masked": Stage("masked", (*NEEDS, "mask"), (), _build(FramePair())),
    },
)


def recipe(**changes: Any) -> TrainRecipe:
    """A recipe of the first stage that learns in a second."""
    base: dict[str, Any] = {
        "system": "tests.training.dummy:SYSTEM",
        "stage": "first",
        "loss_weights": {"mse": 1.0, "mae": 0.0},
        "steps": 10,
        "batch": 16,
        "lr": 0.02,
        "ema": 0.9,
        "threads": 1,
        "log_every": 1,
    }
    return TrainRecipe(**{**base, **changes})


class Notes:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.numbers: list[tuple[int, dict[str, float]]] = []
        self.files: list[str] = []
        self.recipe: dict[str, Any] = {}

    def params(self, values):
        self.recipe = dict(values)

    def metrics(self, values, step):
        self.numbers.append((step, dict(values)))

    def artifact(self, path, folder=""):
        assert path.exists()
        self.files.append(path.name)

    def losses(self) -> dict[int, float]:
        return {step: v["loss/total"] for step, v in self.numbers if "loss/total" in v}
