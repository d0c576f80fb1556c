"""The segment's sound, and speech encoder features at its frames' times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.clip import Clip
from core.sample import FPS, SAMPLE_RATE
from core.weights import Store

FRAME = SAMPLE_RATE // FPS


@dataclass(frozen=True)
class Speech:
    """Adds sound (FLAC bytes) and speech (T, D) float16; lets the sound around go.

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
    needs = frozenset({"landmarks", "sound_around"})
    adds = frozenset({"sound", "speech"})

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
        from core.media.audio import encode_flac

        for clip in clips:
            heard, first = (
                clip.fields["sound_around"]["sound"],
                clip.fields["sound_around"]["offset"],
            )
            count = len(clip.fields["landmarks"])
            vectors = self._net.features(heard, first + count)[first:]
            assert len(vectors) == count, (len(vectors), count)
            sound = np.zeros(count * FRAME, np.float32)  # sound may end before the picture
            own = heard[first * FRAME :][: len(sound)]
            sound[: len(own)] = own
            yield clip.having(
                sound=encode_flac(sound, SAMPLE_RATE),
                speech=vectors.astype(np.float16),
                sound_around=None,
            )
