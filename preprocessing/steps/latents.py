"""Codec latents of the crop, as it is and with the lower face painted grey."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.errors import InputError
from core.weights import Store


@dataclass(frozen=True)
class Latents:
    """Adds latent_source and latent_masked (T, C, h, w) float16, the codec's mode.

    The masked frame has M painted grey (0 in [-1, 1]). Batch and threads are fixed by the recipe,
    since both change the last bits of a float: the same clip then gives the same bytes everywhere.

    Attributes:
        codec: name for ``load_codec``. store: where weights lie.
        batch: frames encoded at once. threads: torch threads.
        min_size, stride: crops must be a multiple of the codec's stride.
    """

    codec: str
    store: Store
    batch: int = 4
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "latents"
    needs = frozenset({"crop", "mask"})
    adds = frozenset({"latent_source", "latent_masked"})

    def origin(self) -> dict[str, str]:
        """The codec's name and hash."""
        return {"codec": str(self._load().id)}

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
            grey = crop.astype(np.float32) / 127.5 - 1
            masked = np.where(mask[..., None], np.float32(0), grey)
            yield clip.having(latent_source=self._encode(grey), latent_masked=self._encode(masked))

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
        return np.concatenate(parts).astype(np.float16)
