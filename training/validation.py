"""Held-out measures, and the gate: does a stage beat its copy baseline?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from core.contracts import BatchRequest, FramePair, Objective, Window
from core.files import write_bytes
from core.media.video import encode_mp4
from core.sample import FPS
from training import optim
from training.data import Samples
from training.recipe import TrainRecipe

DRAWS = 2000
PEOPLE = 5
"""With this many people or more the bootstrap draws people, since their frames are alike."""


@dataclass(frozen=True)
class Gate:
    """Gain of a stage over its copy baseline on the same samples: ``copy_error - error``.

    Attributes:
        gain: mean over samples. low, high: its bootstrap 95 % interval. units: what was drawn.
    """

    gain: float
    low: float
    high: float
    units: int

    @property
    def passed(self) -> bool:
        """The whole interval lies above 0."""
        return self.low > 0

    def line(self) -> str:
        """One line for log and console."""
        verdict = "passed" if self.passed else "failed"
        interval = f"{self.gain:.4g} [{self.low:.4g}, {self.high:.4g}] over {self.units}"
        return f"gate: {verdict} (gain over copying {interval})"


def gate(
    error: np.ndarray, copy_error: np.ndarray, people: np.ndarray | None = None, seed: int = 0
) -> Gate:
    """Paired bootstrap of the gain over copying.

    Args:
        error: (n,) the stage's own.
        copy_error: (n,) the copy baseline's, of the same samples.
        people: (n,) whom each sample shows; whole people are drawn when there are at least
            ``PEOPLE``, single samples otherwise.
        seed: of the draws.
    """
    gains = np.asarray(copy_error, dtype=np.float64) - np.asarray(error, dtype=np.float64)
    assert gains.size, "no held-out samples"
    names, member = np.unique(
        np.arange(gains.size) if people is None else people, return_inverse=True
    )
    if len(names) < PEOPLE:
        member = np.arange(gains.size)
    units = int(member.max()) + 1
    sums = np.bincount(member, gains, units)
    sizes = np.bincount(member, minlength=units)
    drawn = np.random.default_rng(seed).integers(units, size=(DRAWS, units))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    # A measure that is no number must not pass: nan > 0 is False.
    return Gate(float(gains.mean()), float(low), float(high), units)


@contextmanager
def _evaluating(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    for module in modules.values():
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in modules.values():
            module.train()


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on ``device``."""
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def _request(objective: Objective, recipe: TrainRecipe) -> BatchRequest:
    # A stream of its own: no training step has this number.
    return objective.request(np.random.default_rng([recipe.seed, 2**32 - 1]))


def validate(
    objective: Objective, data: Samples, recipe: TrainRecipe, device: torch.device
) -> tuple[dict[str, float], Gate | None]:
    """Measures on the fixed held-out batches.

    Returns:
        (metrics, gate): means by ``<part>.<measure>``, the gain over copying with its interval for
        each part, ``gate`` 1 or 0; the gate is that of ``held_out``, None when no clip is long
        enough to hold any time out.
    """
    metrics: dict[str, float] = {}
    verdict: Gate | None = None
    request = _request(objective, recipe)
    for part in data.parts():
        values, people = _measure_part(objective, data, part, request, recipe, device)
        metrics.update({f"{part}.{name}": float(v.mean()) for name, v in values.items()})
        found = gate(values["error"], values["copy_error"], people)
        metrics[f"{part}.gain"] = found.gain
        metrics[f"{part}.gain_low"] = found.low
        metrics[f"{part}.gain_high"] = found.high
        if part == "held_out":
            verdict = found
            metrics["gate"] = float(found.passed)
    return metrics, verdict


def _measure_part(
    objective: Objective,
    data: Samples,
    part: Any,
    request: BatchRequest,
    recipe: TrainRecipe,
    device: torch.device,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rows: dict[str, list[np.ndarray]] = {}
    people = []
    with _evaluating(objective.trainable()):
        batches = data.held_out(part, request, recipe.held_out_samples, recipe.batch)
        for number, batch in enumerate(batches):
            rng = torch.Generator().manual_seed(recipe.seed + number)
            measured = objective.measure(to_device(batch, device), rng)
            size = len(batch["speaker"])
            for name, value in measured.items():
                assert value.shape == (size,), f"{name}: {value.shape}, wanted ({size},)"
                rows.setdefault(name, []).append(value.float().cpu().numpy())
            people.append(batch["speaker"].numpy())
    return {name: np.concatenate(found) for name, found in rows.items()}, np.concatenate(people)


def save_pictures(
    objective: Objective, data: Samples, recipe: TrainRecipe, device: torch.device, name: Path
) -> list[Path]:
    """Writes what the objective draws of people held out, or of held-out time where there are none.

    A contact sheet of the first batch (PNG), and, where the objective has ``film``, a short video.
    With sharded nets every worker draws; the first one writes.

    Files are ``name`` with an ending; they are returned, on other workers none are.
    """
    parts = data.parts()
    if not parts:
        return []
    part, request, files = parts[-1], _request(objective, recipe), []
    size = min(recipe.batch, 8)
    batch = next(data.held_out(part, request, recipe.held_out_samples, size))
    with _evaluating(objective.trainable()):
        sheet = objective.picture(to_device(batch, device))
        frames = _film(objective, data, part, request, recipe, device)
    if optim.rank():
        return []
    if sheet is not None:
        good, png = cv2.imencode(".png", np.ascontiguousarray(sheet[..., ::-1]))
        assert good, f"no PNG of a sheet of shape {sheet.shape}"
        files.append(name.with_suffix(".png"))
        write_bytes(files[-1], png.tobytes())
    if frames is not None:
        files.append(name.with_suffix(".mp4"))
        write_bytes(files[-1], encode_mp4(frames, FPS))
    return files


def _film(
    objective: Objective,
    data: Samples,
    part: Any,
    request: BatchRequest,
    recipe: TrainRecipe,
    device: torch.device,
) -> np.ndarray | None:
    """What the objective makes of some frames in a row, if it draws that: (T, H, W, 3) uint8."""
    draw = getattr(objective, "film", None)
    if draw is None or not recipe.film_frames or not isinstance(request.view, FramePair):
        return None
    row = BatchRequest(Window(recipe.film_frames, 1), request.fields)
    batch = next(data.held_out(part, row, 1, 1))
    frames: np.ndarray = draw({k: v[0] for k, v in to_device(batch, device).items()})
    return frames
