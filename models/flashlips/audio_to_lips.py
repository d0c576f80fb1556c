"""Stage 2: speech to lips vectors by flow matching (Sec. 3.2, Eq. 10-12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, Sequence60
from core.weights import Store
from models.flashlips.condition import Condition, fields, heard_by, pose_input, sizes
from models.flashlips.distillation import encode_clip
from models.flashlips.parts import Net, Statistics, build, freeze, load_parts
from models.flow import euler, path_sample


class AudioToLips:
    """Objective of the flow-matching transformer.

    ``past`` of the frames are given clean as history, dropped with probability ``drop_past``; each
    condition is dropped with ``drop_condition`` (FLOAT's setting: the FlashLips tables give only
    T = 60). Which conditions there are follows from the transformer's size.
    """

    terms = frozenset({"flow"})

    def __init__(
        self,
        net: Net,
        parents: Mapping[str, CheckpointRef],
        origin: Mapping[str, Any],
        store: Store,
    ) -> None:
        del store
        encoder = load_parts(parents["reconstruction"], ["lips_encoder"])
        self.encoder = freeze(encoder["lips_encoder"])
        self.fresh = "audio_to_lips" not in parents
        if self.fresh:
            self.fmt = build("fmt", net)
        else:
            self.fmt = load_parts(parents["audio_to_lips"], ["fmt"])["fmt"]
        self.found = heard_by(net, origin)
        self.emotion, self.pose = sizes(net)
        self.view = Sequence60(references=int(net["fmt"].get("references", 4)))
        self.drop_condition = float(net.get("drop_condition", 0.1))
        self.drop_past = float(net.get("drop_past", 0.5))
        self.speech_noise = float(net.get("speech_noise", 0.0))
        self.euler_steps = int(net.get("euler_steps", 10))
        self.guidance = float(net.get("guidance", 1.0))
        self.more = fields(net)
        self.statistics = Statistics()

    def trainable(self) -> Mapping[str, nn.Module]:
        """The transformer."""
        return {"fmt": self.fmt}

    def frozen(self) -> Mapping[str, nn.Module]:
        """The lips encoder that defines the target."""
        return {"lips_encoder": self.encoder}

    def derive(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Target lips vectors of a clip; their spread sets the unit of the flow."""
        lips = encode_clip(self.encoder, sample)
        if self.fresh:
            self.statistics.add(lips)
            mean, std = self.statistics.mean_std()
            self.fmt.mean.copy_(mean)  # type: ignore[operator]
            self.fmt.std.copy_(std)  # type: ignore[operator]
        return {"lips": lips.numpy()}

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """Sixty frames in a row and K references of the clip."""
        return BatchRequest(self.view, ("speech", "lips", *self.more))

    def _condition(self, batch: Mapping[str, Any]) -> tuple[Any, Condition]:
        """Target vectors (B,T,12) in the transformer's units, and what it is told."""
        z = self.fmt.normalise(batch["lips"])  # type: ignore[operator]
        references = self.fmt.normalise(batch["lips_reference"]).flatten(1)  # type: ignore[operator]
        return z, Condition(
            batch["speech"].float(),
            references,
            batch["emotion"][:, -1].float() if self.emotion else None,
            pose_input(batch["pose"], self.pose) if self.pose else None,
        )

    def losses(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Eq. 12 on the new frames."""
        z, told = self._condition(batch)
        past, count = self.view.past, len(z)

        def kept(probability: float) -> Any:
            return (torch.rand(count, generator=rng) >= probability).float().to(z.device)

        told = told.dropped(lambda: kept(self.drop_condition))
        if self.speech_noise:
            noise = torch.randn(told.speech.shape, generator=rng).to(z.device)
            told = replace(told, speech=told.speech + self.speech_noise * noise)
        noise = torch.randn(z.shape, generator=rng).to(z.device)
        t = torch.rand(count, generator=rng).to(z.device)
        path = path_sample(z, noise, t)
        history = z[:, :past] * kept(self.drop_past)[:, None, None]
        v = velocity(self.fmt, torch.cat([history, path.z_t[:, past:]], 1), t, told)
        counted = batch["target"][:, past:, None].float()
        squares = (v - path.u)[:, past:] ** 2 * counted
        return {"flow": squares.sum() / (counted.sum() * z.shape[-1]).clamp(min=1)}

    def measure(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Error of the generated vectors, against holding the mean of the references."""
        z, told = self._condition(batch)
        past = self.view.past
        new = generate(self.fmt, told, z[:, :past] * 0, self.euler_steps, guidance=self.guidance)
        held = told.references.view(len(z), -1, z.shape[-1]).mean(1, keepdim=True)
        counted = batch["target"][:, past:, None].float()
        weight = counted / (counted.sum((1, 2), keepdim=True) * z.shape[-1]).clamp(min=1)
        return {
            "error": ((new - z[:, past:]).abs() * weight).sum((1, 2)),
            "copy_error": ((held - z[:, past:]).abs() * weight).sum((1, 2)),
        }

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray | None:
        """Curves are drawn by the report."""
        return None


def velocity(fmt: nn.Module, z_t: Any, t: Any, told: Condition) -> Any:
    """The transformer's velocity (B,T,12) at z_t (B,T,12) and t (B,)."""
    given = z_t if told.pose is None else torch.cat([z_t, told.pose], -1)
    return fmt(given, t, told.speech, told.references, told.emotion)


def generate(
    fmt: nn.Module,
    told: Condition,
    history: Any,
    steps: int,
    noise: Any = None,
    guidance: float = 1.0,
) -> Any:
    """New frames of one window, in the transformer's units.

    Args:
        fmt: ``FMTWithScale``.
        told: of past and new frames.
        history: (B, past, 12), zeros at the start of a sound.
        steps: Euler steps.
        noise: (B, new, 12) start of the flow; None starts from its mean, zero, which gives the
            steady middle of what the sound allows rather than one draw of it.
        guidance: how far to follow the sound, away from what is said without it (classifier-free,
            a second evaluation each step); 1 is without.

    Returns:
        (B, new, 12).
    """
    past = history.shape[1]
    if noise is None:
        noise = torch.zeros_like(told.speech[:, past:, : history.shape[-1]])

    def flow(z: Any, t: Any) -> Any:
        whole = torch.cat([history, z], 1)
        v = velocity(fmt, whole, t, told)
        if guidance != 1:
            free = velocity(fmt, whole, t, told.silent())
            v = free + guidance * (v - free)
        return v[:, past:]

    return euler(flow, noise, steps)
