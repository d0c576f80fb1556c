"""Speech encoder features at the frames' times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.weights import Store


@dataclass(frozen=True)
class Speech:
    """Adds speech (T, D) float16; lets the sound around go.

    The encoder hears the sound around the segment too, so that the features are those of the whole
    clip, cut at the segment, as inference will compute them.

    Attributes:
        encoder: name for ``load_speech``. store: where weights lie. threads: of the encoder.
    """

    encoder: str
    store: Store
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "speech"
    needs = frozenset({"frames", "sound_around"})
    adds = frozenset({"speech"})

    def origin(self) -> dict[str, str]:
        """The encoder's name."""
        return {"speech": str(self._load().name)}

    def setup(self) -> None:
        """Loads the encoder."""
        object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts.speech import load_speech

        return load_speech(self.encoder, self.store, threads=self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Encodes; 1:1."""
        for clip in clips:
            around = clip.fields["sound_around"]
            first, count = around["offset"], clip.fields["frames"].count
            vectors = self._net.features(around["sound"], first + count)[first:]
            assert len(vectors) == count, (len(vectors), count)
            yield clip.having(speech=vectors.astype(np.float16), sound_around=None)
