"""Training of the slim codec: distilled from TAEF2, against pixels and against its latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, FramePair, Predictor
from core.errors import InputError
from core.weights import Store
from models.experts.codec import load_slim, load_taef2
from models.experts.codecs.slim import Slim
from models.experts.codecs.taef2 import Taef2
from models.system import Stage, System


def to_signed(patches: Tensor) -> Tensor:
    """uint8 (B,H,W,3) to float (B,3,H,W) in [-1,1]."""
    return patches.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def edges(x: Tensor) -> Tensor:
    """Differences to the right and lower neighbour, (B,2C,H-1,W-1)."""
    core = x[..., :-1, :-1]
    return torch.cat([x[..., :-1, 1:] - core, x[..., 1:, :-1] - core], 1)


def detail(x: Tensor, size: int = 8) -> Tensor:
    """How much fine detail each place of a picture has: local RMS of the luma's Laplacian.

    Pixel losses alone end in blur, for the mean of all possible details is none. Comparing amounts
    of detail rather than details asks for as much of it as the truth has.

    Args:
        x: (B,3,H,W).
        size: side of the places compared.

    Returns:
        (B,1,H',W').
    """
    y = x.mean(1, keepdim=True)
    core = y[..., 1:-1, 1:-1]
    around = y[..., :-2, 1:-1] + y[..., 2:, 1:-1] + y[..., 1:-1, :-2] + y[..., 1:-1, 2:]
    power = F.avg_pool2d((around - 4 * core).square(), size, size // 2)
    return (power + 1e-4).sqrt()


class CodecDistillation:
    """The slim codec's only stage.

    The decoder sees half a batch of the teacher's latents and half of the slim encoder's own, so
    that it serves both; the gradient of the second half also reaches the encoder.

    Args:
        slim: the codec to train.
        teacher: TAEF2, or None when every batch brings ``latent`` already (a test).
    """

    terms = frozenset({"pixel", "square", "edge", "detail", "latent"})

    def __init__(self, slim: Slim, teacher: Taef2 | None = None) -> None:
        # Channels last is a fifth faster on CPUs, and changes nothing else.
        self.slim = slim.train()
        self.slim.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = teacher.eval().requires_grad_(False) if teacher is not None else None

    def trainable(self) -> Mapping[str, nn.Module]:
        """Encoder and decoder."""
        return {"encoder": self.slim.encoder, "decoder": self.slim.decoder}

    def frozen(self) -> Mapping[str, nn.Module]:
        """The teacher."""
        return {"teacher": self.teacher} if self.teacher is not None else {}

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """Patches of any picture; ``latent`` is what ``derive`` adds."""
        return BatchRequest(FramePair(), ("patch", "latent"), {"source": "patches"})

    def derive(self, sample: Mapping[str, Any]) -> Mapping[str, Any]:
        """The teacher's latents of ``patch`` (N,S,S,3 uint8): ``latent`` (N,32,S/8,S/8)."""
        assert self.teacher is not None, "derive needs the teacher"
        device = next(self.teacher.parameters()).device
        with torch.no_grad():
            latent = self.teacher.encode(to_signed(torch.as_tensor(sample["patch"]).to(device)))
        return {"latent": latent.float().cpu().numpy()}

    def losses(self, batch: Mapping[str, Any], rng: Any) -> Mapping[str, Tensor]:
        """L1 and squared error of pixels, L1 of edges, L1 of detail, squared error of latents."""
        x, teacher = to_signed(batch["patch"]), batch["latent"]
        own = self.slim.encode(x)
        half = len(x) // 2
        decoded = self.slim.decode(torch.cat([teacher[:half], own[half:].float()])).float()
        difference = decoded - x
        return {
            "pixel": difference.abs().mean(),
            "square": difference.square().mean(),
            "edge": (edges(decoded) - edges(x)).abs().mean(),
            "detail": (detail(decoded) - detail(x)).abs().mean(),
            "latent": F.mse_loss(own.float(), teacher),
        }

    def measure(self, batch: Mapping[str, Any], rng: Any) -> Mapping[str, Tensor]:
        """Squared error of the round trip per sample; the copy baseline is the 8-pixel mean."""
        x = to_signed(batch["patch"])
        with torch.no_grad():
            own = self.slim.encode(x)
            decoded = self.slim.decode(own).clamp(-1, 1)
            from_teacher = self.slim.decode(batch["latent"]).clamp(-1, 1)
        blocks = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)
        return {
            "error": _mse(decoded, x),
            "copy_error": _mse(blocks, x),
            "teacher_latent_error": _mse(from_teacher, x),
            "latent_error": _mse(own, batch["latent"]),
        }

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray | None:
        """Rows of patch, round trip and difference for up to eight samples."""
        x = to_signed(batch["patch"])[:8]
        with torch.no_grad():
            decoded = self.slim.decode(self.slim.encode(x)).clamp(-1, 1)
        rows = torch.cat([x, decoded, (decoded - x).clamp(-1, 1)], 2)
        sheet = torch.cat(list(rows), 2).permute(1, 2, 0)
        return ((sheet + 1) * 127.5).round().byte().cpu().numpy()


def _mse(a: Tensor, b: Tensor) -> Tensor:
    return (a.float() - b.float()).square().flatten(1).mean(1)


def build(
    net: Mapping[str, Any],
    parents: Mapping[str, CheckpointRef],
    origin: Mapping[str, Any],
    store: Store,
) -> CodecDistillation:
    """The slim codec, started from its teacher's tensors or from its own checkpoint.

    Args:
        net: sizes of ``Slim``; ``freeze_encoder`` trains the decoder alone: the latents, and with
            them shards and checkpoints, stay what they are.
        parents: ``slim``'s own checkpoint to go on from, if any.
        origin: of the data; patches bring their own.
        store: holds TAEF2.
    """
    teacher = load_taef2(store)
    slim = Slim(**{key: value for key, value in net.items() if key != "freeze_encoder"})
    slim.start_from(teacher)
    if "slim" in parents:
        slim.load_state_dict(load_slim(Path(parents["slim"].uri)).state_dict())
    slim.encoder.requires_grad_(not net.get("freeze_encoder", False))
    return CodecDistillation(slim, teacher)


def _no_predictor(folder: Path, store: Store) -> Predictor:
    raise InputError(
        f"{folder} holds a codec, which edits no video; name the checkpoint of a lip-sync system"
    )


SYSTEM = System(
    name="codec",
    stages={"slim": Stage("slim", needs=("patch",), after=(), build=build)},
    predictor=_no_predictor,
)
