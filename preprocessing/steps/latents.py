"""Codec latents of the crop, as it is and with the lower face painted grey; and of its variants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.errors import InputError
from core.latents import packed
from core.media.colour import STRENGTH, changed, variants
from core.weights import Store


@dataclass(frozen=True)
class Latents:
    """Adds latent_source and latent_masked (T, C, h, w), the codec's mode.

    The masked frame has M painted grey (0 in [-1, 1]). With ``flip`` or ``jitter`` it also adds
    latent_source_variants, latent_masked_variants (T, V, C, h, w) and variants (T, V, 5): copies
    of the crop, mirrored or in other colours (paper, A.1), changed before encoding and alike for
    source and masked and for all segments of a file. Training draws from them.

    Batch and threads are fixed by the recipe, since both change the last bits of a float: the same
    clip then gives the same bytes everywhere.

    Attributes:
        codec: name for ``load_codec``. store: where weights lie.
        batch: frames encoded at once. threads: torch threads.
        storage: float16 or uint8 (see ``core.latents``).
        flip: whether there is a mirrored variant. jitter: how many in other colours (K).
        strength: of the jitter: brightness, contrast, saturation, hue.
    """

    codec: str
    store: Store
    batch: int = 4
    threads: int = 1
    storage: str = "float16"
    flip: bool = False
    jitter: int = 0
    strength: tuple[float, ...] = STRENGTH
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "latents"
    needs = frozenset({"crop", "mask"})
    adds = frozenset(
        {
            "latent_source",
            "latent_masked",
            "latent_source_variants",
            "latent_masked_variants",
            "variants",
        }
    )

    def origin(self) -> dict[str, str]:
        """The codec's name and hash; storage and variants where they are not the plain ones."""
        found = {"codec": str(self._load().id)}
        if self.storage != "float16":
            found["latents"] = self.storage
        if self.flip or self.jitter:
            strength = ",".join(f"{s:g}" for s in self.strength)
            found["variants"] = f"flip={int(self.flip)} jitter={self.jitter} ({strength})"
        return found

    def setup(self) -> None:
        """Loads the codec."""
        object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.codec import load_codec

        return load_codec(self.codec, self.store)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Encodes; 1:1."""
        for clip in clips:
            crop, mask = clip.fields["crop"], clip.fields["mask"]
            source, masked = self._pair(crop, mask)
            clip = clip.having(latent_source=source, latent_masked=masked)
            # The file's hash: segments of one file are joined again in training.
            seed = str(clip.facts.get("sha256", clip.id))
            rows = variants(seed, self.flip, self.jitter, self.strength)
            yield self._with_variants(clip, rows) if len(rows) else clip

    def _pair(self, crop: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grey = crop.astype(np.float32) / 127.5 - 1
        masked = np.where(mask[..., None], np.float32(0), grey)
        return self._encode(grey), self._encode(masked)

    def _with_variants(self, clip: Clip, rows: np.ndarray) -> Clip:
        crop, mask = clip.fields["crop"], clip.fields["mask"]
        pairs = [
            self._pair(changed(crop, row), mask[..., ::-1] if row[0] else mask) for row in rows
        ]
        return clip.having(
            latent_source_variants=np.stack([source for source, _ in pairs], 1),
            latent_masked_variants=np.stack([masked for _, masked in pairs], 1),
            variants=np.repeat(rows[None], len(crop), 0),
        )

    def _encode(self, frames_THWC: np.ndarray) -> np.ndarray:
        import torch

        if frames_THWC.shape[1] % self._net.stride:
            raise InputError(
                f"crop size {frames_THWC.shape[1]} is no multiple of codec {self.codec}'s stride "
                f"{self._net.stride}; set crop.size to one"
            )
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                parts = [
                    self._net.encode(
                        torch.from_numpy(frames_THWC[i : i + self.batch]).permute(0, 3, 1, 2)
                    ).numpy()
                    for i in range(0, len(frames_THWC), self.batch)
                ]
        finally:
            torch.set_num_threads(before)
        return packed(np.concatenate(parts), self.storage)
