"""A trained FlashLips, all stages together: what the predictor and the evaluation render with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoint import CheckpointRef, read_card
from core.errors import InputError
from core.weights import Store
from models.experts.codec import load_codec, slim_of
from models.flashlips.audio_to_lips import generate
from models.flashlips.condition import Condition, sizes
from models.flashlips.parts import freeze, images, lips_dim, load_parts, pixels

PARTS = {
    "reconstruction": ("editor", "lips_encoder"),
    "distillation": ("image_encoder",),
    "lips_change": ("editor",),
    "audio_to_lips": ("fmt",),
}
PAST, NEW = 10, 50


class Edit(nn.Module):
    """What every frame goes through, as one net: encode, edit without a mask, decode."""

    def __init__(self, editor: nn.Module, codec: nn.Module) -> None:
        super().__init__()
        self.editor, self.codec = editor, codec

    def forward(self, x: Any, reference: Any, lips: Any) -> Any:
        """Crops (B,3,S,S) in [-1,1], features of the reference (1,C,h,w), lips vectors (B,12)."""
        z = self.codec.encode(x)  # type: ignore[operator]
        z = self.editor(z, reference.expand(len(z), -1, -1, -1), lips)
        return self.codec.decode(z)  # type: ignore[operator]


class FlashLips:
    """The system's nets, frozen, with numpy at the border.

    Args:
        folder: holds one checkpoint folder a stage (``reconstruction``, ``distillation``, ...).
        store: pretrained weights.

    Raises:
        InputError: a stage is missing, or its codec is not the one here.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        missing = [stage for stage in PARTS if not (folder / stage).is_dir()]
        if missing:
            raise InputError(
                f"{folder} lacks the stage {missing[0]!r}: name a folder that holds "
                f"{', '.join(PARTS)}"
            )
        self.folder = folder
        self.cards: dict[str, CheckpointRef] = {s: read_card(folder / s) for s in PARTS}
        self.card = self.cards["lips_change"]
        parts = {s: load_parts(self.cards[s], names) for s, names in PARTS.items()}
        self.masked_editor = freeze(parts["reconstruction"]["editor"])
        self.lips_encoder = freeze(parts["reconstruction"]["lips_encoder"])
        self.image_encoder = freeze(parts["distillation"]["image_encoder"])
        self.editor = freeze(parts["lips_change"]["editor"])
        self.fmt = freeze(parts["audio_to_lips"]["fmt"])
        self.codec = load_codec(self.card.codec.partition("@")[0], store, slim_of(folder))
        for stage, card in self.cards.items():
            if card.codec != self.codec.id:
                raise InputError(
                    f"{folder / stage} was trained on codec {card.codec}, here is {self.codec.id}: "
                    "train it again or bring that codec"
                )
        self.lips_length = lips_dim(self.card.net)
        self.references = int(self.cards["audio_to_lips"].net["fmt"].get("references", 4))

    @torch.inference_mode()
    def encode(self, crops: np.ndarray) -> torch.Tensor:
        """(N,S,S,3) uint8 -> latents (N,C,h,w)."""
        return self.codec.encode(images(torch.from_numpy(crops)))

    @torch.inference_mode()
    def decode(self, z: Any, batch: int = 32) -> np.ndarray:
        """Latents (N,C,h,w) -> crops (N,S,S,3) uint8."""
        return np.concatenate(
            [pixels(self.codec.decode(z[i : i + batch])).numpy() for i in range(0, len(z), batch)]
        )

    @torch.inference_mode()
    def lips(self, expression: np.ndarray, crops: np.ndarray, batch: int = 64) -> torch.Tensor:
        """True lips vectors by the full encoder: (N,E), (N,S,S,3) -> (N,12)."""
        return torch.cat(
            [
                self.lips_encoder(
                    torch.from_numpy(expression[i : i + batch]),
                    images(torch.from_numpy(crops[i : i + batch])),
                )
                for i in range(0, len(crops), batch)
            ]
        )

    @torch.inference_mode()
    def image_lips(self, crops: np.ndarray) -> torch.Tensor:
        """Lips vectors by the distilled encoder, from pixels alone: (N,S,S,3) -> (N,12)."""
        return self.image_encoder(images(torch.from_numpy(crops)))

    @torch.inference_mode()
    def paint(self, editor: nn.Module, z_in: Any, z_ref: Any, lips: Any, batch: int = 32) -> Any:
        """Runs an editor over many frames with one reference.

        Args:
            editor: ``masked_editor`` (``z_in`` masked) or ``editor`` (``z_in`` the source's own).
            z_in: (N,C,h,w).
            z_ref: (1,C,h,w).
            lips: (N,12).
            batch: frames at a time.

        Returns:
            (N,C,h,w).
        """
        reference = editor.reference(z_ref)  # type: ignore[operator]
        parts = []
        for i in range(0, len(z_in), batch):
            z = z_in[i : i + batch].float()
            parts.append(editor(z, reference.expand(len(z), -1, -1, -1), lips[i : i + batch]))
        return torch.cat(parts)

    def speak(
        self,
        speech: np.ndarray,
        references: Any,
        emotion: np.ndarray | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> torch.Tensor:
        """Lips vectors for a sound of any length, from its features.

        Args:
            speech: (T,D) features.
            references: (K,12) lips vectors of the person.
            emotion: (T,7) probabilities; None is unknown.
            temperature: spread of the flow's start; 0 is its mean.
            seed: of the start.

        Returns:
            (T,12).
        """
        felt = None if emotion is None else lambda start: emotion[start]
        return torch.cat(list(self.speaking([speech], references, felt, temperature, seed)))

    @torch.inference_mode()
    def speaking(
        self,
        speech: Iterable[np.ndarray],
        references: Any,
        emotion: Callable[[int], np.ndarray] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[torch.Tensor]:
        """Lips vectors window by window, as sound comes; Euler steps and guidance are the card's.

        The head's pose is left open: sound comes before any frame is seen.

        Args:
            speech: features (n,D), joined those of the whole sound.
            references: (K,12) lips vectors of the person.
            emotion: first frame of a window -> (7,) probabilities; None is unknown.
            temperature: spread of the flow's start; 0 is its mean.
            seed: of the start.

        Yields:
            (``NEW``,12), the last may be shorter.
        """
        rng = torch.Generator().manual_seed(seed)
        net = self.cards["audio_to_lips"].net
        steps, guidance = int(net.get("euler_steps", 10)), float(net.get("guidance", 1.0))
        d_e, d_p = sizes(net)
        held = self.fmt.normalise(references).reshape(1, -1)  # type: ignore[operator]
        history = torch.zeros(1, PAST, references.shape[-1])
        for number, (window, count) in enumerate(windows(speech)):
            noise = temperature * torch.randn(1, NEW, references.shape[-1], generator=rng)
            felt = torch.zeros(1, d_e)
            if emotion is not None:
                felt = torch.from_numpy(emotion(number * NEW).astype(np.float32))[None]
            told = Condition(
                torch.from_numpy(window)[None],
                held,
                felt if d_e else None,
                torch.zeros(1, PAST + NEW, d_p) if d_p else None,
            )
            new = generate(self.fmt, told, history, steps, noise, guidance)
            history = new[:, -PAST:]
            yield self.fmt.restore(new[0, :count])  # type: ignore[operator]


def windows(speech: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Windows (``PAST`` + ``NEW``, D) of features (n, D) that come in blocks, and how many are new.

    The first one repeats the first frame before it, the last one the last frame behind it.
    """
    held: np.ndarray | None = None
    for block in speech:
        if len(block):
            held = np.repeat(block[:1], PAST, 0) if held is None else held
            held = np.concatenate([held, block]).astype(np.float32)
        while held is not None and len(held) >= PAST + NEW:
            yield held[: PAST + NEW], NEW
            held = held[NEW:]
    if held is not None and len(held) > PAST:
        missing = PAST + NEW - len(held)
        yield np.concatenate([held, np.repeat(held[-1:], missing, 0)]), NEW - missing
