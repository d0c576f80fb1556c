"""The emotion in the segment's voice: seven classes, one vector for the whole segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.clip import Clip
from core.weights import Store


@dataclass(frozen=True)
class Emotion:
    """Adds emotion (7,) float32, softmax probabilities; nothing where its model is missing.

    Attributes:
        model: folder of the classifier (see ``models.experts.emotion``).
        store: where weights lie. threads: of the net.
    """

    model: str
    store: Store
    threads: int = 1
    _net: Any = field(default=None, init=False, repr=False, compare=False)
    name = "emotion"
    needs = frozenset({"sound"})
    adds = frozenset({"emotion"})

    def origin(self) -> dict[str, str]:
        """The classifier's name, hash and classes, or that it is skipped and why."""
        net = self._load()
        if net is None:
            return {"emotion": f"skipped: no model folder {self.model}"}
        return {"emotion": f"{net.name}:{','.join(net.labels)}"}

    def setup(self) -> None:
        """Loads the classifier."""
        object.__setattr__(self, "_net", self._load())

    def _load(self) -> Any:
        from models.experts import local
        from models.experts.emotion import SpeechEmotion

        if local.find(self.model, self.store) is None:
            return None
        return SpeechEmotion(self.model, self.store, self.threads)

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Listens; 1:1."""
        from core.media.audio import decode_flac

        for clip in clips:
            if self._net is None:
                yield clip
                continue
            found = self._net.probabilities(decode_flac(clip.fields["sound"])[0])
            yield clip.having(emotion=found).noting(
                emotion=self._net.labels[int(found.argmax())],
            )
