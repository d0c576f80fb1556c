"""Held-out frames as FlashLips draws them: what evaluation compares with the truth.

A clip here is anything with arrays by field name and index arrays ``train`` and ``held_out``
(``evaluation.clip_data.ClipData``). No paste-back: these are the editor's raw crops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.weights import Store
from models.experts.codec import Codec, load_codec
from models.flashlips.bundle import FlashLips
from models.flashlips.parts import images, pixels

TEACHER = "taef2"
TIMED = 32
"""Frames that a part's speed is measured on."""
Clip = Any


class FlashLipsRenderers:
    """Ways to draw a clip's held-out frames; each gives (N,S,S,3) uint8.

    Args:
        folder: the system's checkpoint folder.
        store: pretrained weights.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.system = FlashLips(folder, store)
        self.card = self.system.card
        self.teacher = teacher(self.card.codec, store)

    def by_name(self) -> Mapping[str, Callable[[Clip], np.ndarray]]:
        """Renderers of the report, by the system's name in its keys."""
        beside = {} if self.teacher is None else {f"codec_{TEACHER}": self.taught}
        return {
            "codec": self.codec,
            **beside,
            "reconstruction": self.reconstruction,
            "lips_change": self.lips_change,
            "audio": self.spoken,
        }

    def parts(self, clip: Clip) -> Mapping[str, Callable[[], Any]]:
        """Encode, edit and decode of some of a clip's crops, to be timed."""
        system, crops = self.system, np.asarray(clip["crop"][:TIMED])
        z, lips = system.encode(crops), system.lips(clip["expression"][:TIMED], crops)
        return {
            "encode": lambda: system.encode(crops),
            "edit": lambda: system.paint(system.editor, z, z[:1], lips),
            "decode": lambda: system.decode(z),
        }

    def teacher_parts(self, clip: Clip) -> Mapping[str, Callable[[], Any]]:
        """The same of the codec's teacher; empty where it is not."""
        if self.teacher is None:
            return {}
        codec, x = self.teacher, images(torch.from_numpy(np.asarray(clip["crop"][:TIMED])))
        encode = torch.inference_mode()(codec.encode)
        decode = torch.inference_mode()(codec.decode)
        z = encode(x)
        return {"encode, TAEF2": lambda: encode(x), "decode, TAEF2": lambda: decode(z)}

    def gflop_per_frame(self) -> float:
        """GFLOP (two a multiply-add) of encoding, editing and decoding one crop."""
        system = self.system
        size = int(self.card.crop.partition("@")[2])
        crop = np.zeros((1, size, size, 3), np.uint8)
        with FlopCounterMode(display=False) as counter:
            z = system.encode(crop)
            system.decode(system.paint(system.editor, z, z, torch.zeros(1, system.lips_length)))
        return counter.get_total_flops() / 1e9

    def lips(self, clip: Clip) -> np.ndarray:
        """True lips vectors of all frames by the full encoder, (T,12)."""
        return self.system.lips(np.asarray(clip["expression"]), clip["crop"]).numpy()

    def codec(self, clip: Clip) -> np.ndarray:
        """The truth through the codec: the ceiling of everything else."""
        return self.system.decode(self._latents(clip, "latent_source", clip.held_out))

    @torch.inference_mode()
    def taught(self, clip: Clip) -> np.ndarray:
        """The truth through the codec's teacher."""
        assert self.teacher is not None, "its weights are not here"
        crops = torch.from_numpy(np.asarray(clip["crop"][clip.held_out]))
        return np.concatenate(
            [pixels(self.teacher(images(part))).numpy() for part in crops.split(16)]
        )

    def reconstruction(self, clip: Clip) -> np.ndarray:
        """Masked editor, true lips vectors of the held-out frames."""
        return self.system.decode(self._masked(clip, self._true(clip, clip.held_out)))

    def lips_change(self, clip: Clip) -> np.ndarray:
        """Mask-free editor, true lips vectors, on frames whose own mouth was painted away first.

        The masked editor paints the mouth of some training frame into each held-out one, so the
        source holds no answer to copy.
        """
        count = len(clip.held_out)
        borrowed = np.resize(clip.train, count)
        painted = self._masked(clip, self._true(clip, borrowed))
        z = self._free(clip, painted, self._true(clip, clip.held_out))
        return self.system.decode(z)

    def driven(self, clip: Clip, frames: np.ndarray) -> np.ndarray:
        """Mask-free editor on the held-out frames with the lips vectors of ``frames`` (N,)."""
        source = self._latents(clip, "latent_source", clip.held_out)
        return self.system.decode(self._free(clip, source, self._true(clip, frames)))

    def driven_masked(self, clip: Clip, frames: np.ndarray) -> np.ndarray:
        """As ``driven`` with the masked editor."""
        return self.system.decode(self._masked(clip, self._true(clip, frames)))

    def spoken(self, clip: Clip, speech: np.ndarray | None = None) -> np.ndarray:
        """Mask-free editor on the held-out frames, driven by sound.

        Args:
            clip: the clip.
            speech: (N,D) features for the held-out frames; by default the clip's.
        """
        lips = self.spoken_lips(clip, speech)
        source = self._latents(clip, "latent_source", clip.held_out)
        return self.system.decode(self._free(clip, source, lips))

    def spoken_masked(self, clip: Clip, speech: np.ndarray | None = None) -> np.ndarray:
        """As ``spoken`` with the masked editor: nothing of the true mouth can leak."""
        return self.system.decode(self._masked(clip, self.spoken_lips(clip, speech)))

    def spoken_lips(self, clip: Clip, speech: np.ndarray | None = None) -> torch.Tensor:
        """Lips vectors from sound for the held-out frames, (N,12)."""
        features = clip["speech"][clip.held_out] if speech is None else speech
        spread = np.linspace(0, len(clip.train) - 1, self.system.references).astype(int)
        references = self._true(clip, clip.train[spread])
        return self.system.speak(np.asarray(features, np.float32), references)

    def _true(self, clip: Clip, frames: np.ndarray) -> torch.Tensor:
        return self.system.lips(np.asarray(clip["expression"][frames]), clip["crop"][frames])

    def _latents(self, clip: Clip, field: str, frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(clip[field][frames], np.float32))

    def _reference(self, clip: Clip) -> torch.Tensor:
        return self._latents(clip, "latent_source", np.array([clip.reference]))

    def _masked(self, clip: Clip, lips: torch.Tensor) -> torch.Tensor:
        z = self._latents(clip, "latent_masked", clip.held_out)
        return self.system.paint(self.system.masked_editor, z, self._reference(clip), lips)

    def _free(self, clip: Clip, z: torch.Tensor, lips: torch.Tensor) -> torch.Tensor:
        return self.system.paint(self.system.editor, z, self._reference(clip), lips)


def teacher(codec: str, store: Store) -> Codec | None:
    """TAEF2, to be shown beside the slim codec where its weights are; else None."""
    both = store.has(f"{TEACHER}_encoder") and store.has(f"{TEACHER}_decoder")
    return load_codec(TEACHER, store) if both and codec.startswith("slim@") else None
