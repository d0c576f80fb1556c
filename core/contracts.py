"""Protocols: what a step, an objective, a predictor, a metric and a tracker look like.

Each is met by plain classes without inheritance. Tensors and arrays are loose (``Any``) here so
that core needs no torch; docstrings give shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from core.clip import Clip
from core.media.audio import Sound
from core.media.crop import CropSpec

Json = Any
Numbers = Mapping[str, float]


# -- preprocessing: raw files -> shards -------------------------------------------------------


@runtime_checkable
class Step(Protocol):
    """One step of preprocessing: a cheap picklable value; heavy things load in ``setup``.

    ``__call__`` takes clips that are not dropped and gives as many, more, or the same ones dropped:
    1:1, 1:N and reject are one shape.
    """

    @property
    def name(self) -> str:
        """In the chain, the ledger and the log; no other step of a chain has it."""

    @property
    def needs(self) -> frozenset[str]:
        """Fields that a step before must have added."""

    @property
    def adds(self) -> frozenset[str]:
        """Fields that this step adds."""

    def setup(self) -> None:
        """Loads weights; called once on the worker, before the first clip."""

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Does the step's work."""


# -- training: shards -> checkpoints ----------------------------------------------------------


@dataclass(frozen=True)
class FramePair:
    """View of stage 1: a source frame and a reference frame of the same clip.

    The reference lies more than ``min_gap`` frames away (anything in the clip when 0).
    """

    min_gap: int = 0


@dataclass(frozen=True)
class Sequence60:
    """View of stage 2: ``frames`` frames in a row, the first ``past`` of them given as history."""

    frames: int = 60
    past: int = 10
    references: int = 4


@dataclass(frozen=True)
class Window:
    """View of systems that edit ``frames`` frames at once, shown ``references`` frames of the clip.

    Nothing is given as history: ``past`` is 0.
    """

    frames: int = 16
    references: int = 16
    past: int = 0


View = FramePair | Sequence60 | Window


@dataclass(frozen=True)
class BatchRequest:
    """What an objective wants for its next step: which view, which fields, how many samples."""

    view: View
    fields: tuple[str, ...]
    extras: Mapping[str, Any] = field(default_factory=dict)


class Objective(Protocol):
    """One training stage of a system: nets, losses and nothing of loop, device count or tracker.

    One that changes over its run may have ``at(progress: float)`` as well: before each step the
    loop tells it which share of the run is done, in [0, 1].
    """

    terms: frozenset[str]
    """Names that ``losses`` gives; the recipe's ``loss_weights`` must have the same keys."""

    def trainable(self) -> Mapping[str, Any]:
        """Modules to train, by the name under which they are saved (``torch.nn.Module``)."""

    def frozen(self) -> Mapping[str, Any]:
        """Modules used but not trained."""

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """What the next batch must hold."""

    def losses(self, batch: Mapping[str, Any], rng: Any) -> Mapping[str, Any]:
        """Named scalar loss terms, unweighted. ``rng`` is a ``torch.Generator`` on the CPU."""

    def measure(self, batch: Mapping[str, Any], rng: Any) -> Mapping[str, Any]:
        """Held-out measures as one value per sample, shape (B,), by name; lower is better.

        Always holds ``error`` and ``copy_error``: the stage's own error and that of its copy
        baseline on the same samples, so that the gate can compare them pair by pair.
        """

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray | None:
        """A contact sheet (H,W,3 uint8) of what the stage does to ``batch``, or None."""


class Tracker(Protocol):
    """Where a run's numbers and files go; MLflow behind it, or nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Logs the resolved recipe."""

    def metrics(self, values: Numbers, step: int) -> None:
        """Logs numbers by name at a step."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keeps a file."""


# -- inference: checkpoint -> video -----------------------------------------------------------


@dataclass(frozen=True)
class PredictorSpec:
    """What a predictor wants from the engine.

    Attributes:
        crop: how to cut the face out, or None when it edits whole frames.
        fps: rate at which it thinks; the engine gives each frame's own time.
        window, overlap: frames per ``edit`` call and how many of them repeat the last call's.
        references: how many reference crops ``prepare`` wants.
        region: whether ``edit`` takes and gives crops or whole frames.
    """

    crop: CropSpec | None
    fps: float
    window: int
    overlap: int
    references: int
    region: Literal["crop", "frame"] = "crop"


class Session(Protocol):
    """One video being edited; holds what windows share. Times go forward from call to call."""

    def edit(self, frames: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """Edits frames (N,H,W,3 uint8 RGB) shown at ``times_s`` (N,) of the new sound."""


class Predictor(Protocol):
    """A trained system, ready to edit."""

    spec: PredictorSpec

    def prepare(self, references: np.ndarray, sound: Sound, seed: int = 0) -> Session:
        """Starts a video.

        Args:
            references: crops of the person (K,H,W,3 uint8 RGB) from the source video.
            sound: the new sound, 16 kHz mono float32 in [-1, 1], from the video's first frame on.
                It may lie on disk: ask for stretches of it, when frames come that need them.
            seed: of everything drawn by chance.
        """


# -- evaluation: videos -> numbers ------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One output to be measured, as face crops, beside the truth it is compared with.

    Attributes:
        name: clip or corpus. system: system or baseline. Both become parts of report keys.
        output, truth: (T,S,S,3) uint8 RGB.
        mouth_box: (T,4) int x0,y0,x1,y1 inside which pixels are compared.
        landmarks: (T,468,3) of the truth, in crop pixels.
        asked: (T,) the mouth opening that was asked for, over face height.
        kind: "self" when truth shows the same words, "cross" otherwise.
    """

    name: str
    system: str
    output: np.ndarray
    truth: np.ndarray
    mouth_box: np.ndarray
    landmarks: np.ndarray
    asked: np.ndarray
    kind: Literal["self", "cross"] = "self"


class Metric(Protocol):
    """One measure: ``observe`` runs anywhere, ``reduce`` once; merging rows changes nothing."""

    name: str
    better: Literal["higher", "lower", "one"]

    def observe(self, case: Case) -> Mapping[str, np.ndarray]:
        """Per-frame values of one case."""

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """Numbers over all observed rows, by name."""
