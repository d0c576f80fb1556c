"""wav2vec 2.0 features at the frames' times (Sec. 3.2), from a folder that a person saved.

Legend: a vector is 20 ms; L layers; H the model's width.

The paper conditions stage 2 on wav2vec 2.0 and says neither which layers nor how they meet the
frames. Here a frame's vector is interpolated to the frame's middle, each layer is normalised over
its H numbers (layers differ in size by orders), and the layers lie side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.media.audio import Sound
from core.weights import Store
from models.experts import local
from models.experts.speech import HOP, WINDOW, heard, joined, overlapped

HEARD = 400
"""Samples that one vector hears; the next one starts 320 later."""
MIDDLE = np.array([0.625, 0.375], np.float32)
"""A frame's middle, 20 ms, lies between its vectors' middles, 12.5 and 32.5 ms."""


class Wav2Vec2Speech:
    """Hidden states of a ``Wav2Vec2Model`` (or one of its kin: HuBERT, WavLM).

    The sound goes through in windows of 6 s, one starting every second, as for Whisper: constant
    memory, no seams, and speech moved by whole seconds gives the same vectors.

    Args:
        name: ``FOLDER#LAYERS``, such as ``wav2vec2-base-960h#6,9,12``; layer 0 is the input of the
            first block. FOLDER may carry a hash (see ``models.experts.local``).
        store: weights folders, for a FOLDER that is no path.
        threads: of torch. The model opens at first use, so this pickles.

    Raises:
        InputError: no such folder, no layers, or layers that the model does not have.
    """

    def __init__(self, name: str, store: Store, threads: int = 1) -> None:
        folder, _, layers = name.partition("#")
        model = local.locate(folder, store)
        config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
        most = int(config.get("num_hidden_layers", 0))
        if not re.fullmatch(r"\d+(,\d+)*", layers) or max(map(int, layers.split(","))) > most:
            raise InputError(
                f"wav2vec2:{name} must end in #LAYERS of 0 to {most}, such as #{most // 2},{most}"
            )
        self.layers = tuple(int(layer) for layer in layers.split(","))
        self.name = f"wav2vec2:{model.name}#{layers}"
        self.dim = len(self.layers) * int(config["hidden_size"])
        self.folder, self.threads = model.folder, threads
        self._normalise = normalises(model.folder)
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}

    def features(self, sound: Sound, frames: int) -> np.ndarray:
        """See ``SpeechEncoder.features``."""
        return joined(self.stream(sound, frames), self.dim)

    def stream(self, sound: Sound, frames: int) -> Iterator[np.ndarray]:
        """See ``SpeechEncoder.stream``."""

        def encode(first: int) -> np.ndarray:
            begin = first * HOP
            return self._encode(heard(sound, begin, begin + WINDOW * HOP + HEARD - 2 * HOP))

        for block in overlapped(encode, frames, self.dim):
            both = block.reshape(-1, 2, self.dim)
            yield np.einsum("tvd,v->td", both, MIDDLE).astype(np.float32)

    def _encode(self, piece: np.ndarray) -> np.ndarray:
        """Vectors (WINDOW / 2, L H) of one window."""
        import torch

        if self._normalise:  # what the model was trained on: each utterance at unit variance
            piece = (piece - piece.mean()) / np.sqrt(piece.var() + 1e-7)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                given = torch.from_numpy(piece.astype(np.float32))[None]
                states = self._loaded()(given, output_hidden_states=True).hidden_states
                parts = [torch.nn.functional.layer_norm(s, s.shape[-1:]) for s in states]
                found: np.ndarray = torch.cat([parts[i] for i in self.layers], -1)[0].numpy()
        finally:
            torch.set_num_threads(before)
        assert len(found) == WINDOW // 2, found.shape
        return found

    def _loaded(self) -> Any:
        if self._model is None:
            from transformers import AutoModel

            self._model = local.opened(AutoModel, self.folder)
        return self._model


def normalises(folder: Path) -> bool:
    """Whether a speech model wants each sound at zero mean and unit variance."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return True
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True))
