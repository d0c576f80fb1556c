"""The distilled lips encoder: one ResNet on the face crop matches the full encoder (Sec. 3.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, FramePair
from core.weights import Store
from models.flashlips.parts import Net, Statistics, build, freeze, images, load_parts


class Distillation:
    """Objective: the mean absolute difference to the lips encoder's vector, in its own units."""

    terms = frozenset({"lips_l1"})

    def __init__(
        self,
        net: Net,
        parents: Mapping[str, CheckpointRef],
        origin: Mapping[str, Any],
        store: Store,
    ) -> None:
        del origin, store
        teacher = load_parts(parents["reconstruction"], ["lips_encoder"])
        self.teacher = freeze(teacher["lips_encoder"])
        self.fresh = "distillation" not in parents
        if not self.fresh:
            self.student = load_parts(parents["distillation"], ["image_encoder"])["image_encoder"]
        else:
            self.student = build("image_encoder", net)
        self.statistics = Statistics()
        self.std: Any = None

    def trainable(self) -> Mapping[str, nn.Module]:
        """The image encoder."""
        return {"image_encoder": self.student}

    def frozen(self) -> Mapping[str, nn.Module]:
        """The encoder trained with the editor."""
        return {"lips_encoder": self.teacher}

    def derive(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The teacher's vectors, computed once per clip; a fresh student starts at their mean."""
        lips = encode_clip(self.teacher, sample)
        self.statistics.add(lips)
        mean, std = self.statistics.mean_std()
        # One unit for all twelve numbers: a number that hardly moves hardly matters.
        self.std = std.square().mean().sqrt()
        if self.fresh:
            with torch.no_grad():
                self.student.net.head.bias.copy_(mean)  # type: ignore[operator, union-attr]
        return {"lips": lips.numpy()}

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """Single frames; the reference serves the copy baseline."""
        return BatchRequest(FramePair(), ("crop", "lips"))

    def _difference(self, batch: Mapping[str, Any]) -> Any:
        lips = self.student(images(batch["crop"]))
        return ((lips - batch["lips"]) / self.std.to(lips.device)).abs()

    def losses(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Mean absolute difference in standard deviations of the lips vector."""
        return {"lips_l1": self._difference(batch).mean()}

    def measure(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """The same, against copying the reference frame's vector."""
        copied = (batch["lips_reference"] - batch["lips"]) / self.std.to(batch["lips"].device)
        return {"error": self._difference(batch).mean(1), "copy_error": copied.abs().mean(1)}

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray | None:
        """A vector has no picture."""
        return None


@torch.no_grad()
def encode_clip(encoder: nn.Module, sample: Mapping[str, Any], batch: int = 64) -> torch.Tensor:
    """The full lips encoder's vectors for all frames of a sample: (T, 12)."""
    expression = torch.as_tensor(np.asarray(sample["expression"]))
    crops = np.asarray(sample["crop"])
    return torch.cat(
        [
            encoder(expression[i : i + batch], images(torch.from_numpy(crops[i : i + batch])))
            for i in range(0, len(crops), batch)
        ]
    )
