"""Speech emotion: one distribution over seven classes for a whole stretch of sound (Sec. 3.2).

The paper feeds stage 2 the output of "a pre-trained audio emotion encoder" e(a) with 7 classes
(Table A.3) and does not name it. Any wav2vec 2.0 classifier of seven classes in a local folder will
do: one of transformers' own, or one of the older community form whose head is ``classifier.dense``,
tanh, ``classifier.out_proj`` (or ``.output``) on the mean hidden state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from core.errors import InputError
from core.weights import Store
from models.experts import local
from models.experts.wav2vec2 import normalises

CLASSES = 7
SHORTEST = 16_000 // 5
"""Samples; shorter sound is padded with silence, or the convolutions would leave nothing."""
HEADS = ("out_proj", "output")


class SpeechEmotion:
    """A seven-class classifier of 16 kHz sound.

    Args:
        name: ``FOLDER`` or ``FOLDER@HASH`` (see ``models.experts.local``).
        store: weights folders, for a FOLDER that is no path.
        threads: of torch.

    Attributes:
        name: with its hash. labels: the classes' names, in the order of the vector.

    Raises:
        InputError: no such folder, no classifier, or not seven classes.
    """

    def __init__(self, name: str, store: Store, threads: int = 1) -> None:
        from transformers import AutoConfig

        model = local.locate(name, store)
        self.name, self.folder, self.threads = model.name, model.folder, threads
        try:
            config = AutoConfig.from_pretrained(model.folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{model.folder}: no config of transformers ({error})") from error
        self.labels = tuple(str(config.id2label[i]) for i in sorted(config.id2label))
        if len(self.labels) != CLASSES:
            raise InputError(
                f"{model.folder} tells {len(self.labels)} classes apart, wanted are {CLASSES}: "
                "name another speech-emotion model"
            )
        self._normalise = normalises(model.folder)
        self._logits = _dense(model.folder) or _standard(model.folder)

    def probabilities(self, sound: np.ndarray) -> np.ndarray:
        """Softmax over the classes.

        Args:
            sound: (samples,) float in [-1, 1], 16 kHz mono.

        Returns:
            (7,) float32, adds up to 1.
        """
        import torch

        given = np.pad(sound.astype(np.float64), (0, max(0, SHORTEST - len(sound))))
        if self._normalise:
            given = (given - given.mean()) / np.sqrt(given.var() + 1e-7)
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                logits = self._logits(torch.from_numpy(given.astype(np.float32))[None])
                found: np.ndarray = torch.softmax(logits[0].float(), -1).numpy()
        finally:
            torch.set_num_threads(before)
        return found


def _standard(folder: Path) -> Any:
    from transformers import AutoModelForAudioClassification

    net = local.opened(AutoModelForAudioClassification, folder)
    return lambda sound: net(sound).logits


def _dense(folder: Path) -> Any:
    """Sound to logits by the older head, or None when the file has none of it."""
    import torch
    from torch.nn.functional import linear
    from transformers import AutoModel

    with safe_open(folder / local.WEIGHTS, "pt") as file:
        keys = set(file.keys())
        out = next((n for n in HEADS if f"classifier.{n}.weight" in keys), "")
        if not out or "classifier.dense.weight" not in keys:
            return None
        first, last = (
            (file.get_tensor(f"classifier.{n}.weight"), file.get_tensor(f"classifier.{n}.bias"))
            for n in ("dense", out)
        )
    body = local.opened(AutoModel, folder)
    return lambda sound: linear(
        torch.tanh(linear(body(sound).last_hidden_state.mean(1), *first)), *last
    )
