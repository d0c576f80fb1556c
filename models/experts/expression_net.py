"""A frozen expression encoder that a person brings as a file, in the landmark geometry's place.

The paper's own is such a net ([9] of Sec. 3.1.1), whose weights are not ours to name. Running a
TorchScript file runs what its author wrote into it: it is opened because a recipe names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.errors import InputError
from core.weights import Store

SIDE = 224
"""Side of the pictures it sees where the name gives none."""
Run = Callable[[np.ndarray], Any]


class ExpressionNet:
    """Face crops to expression features by an ONNX or TorchScript file.

    The net takes (1, 3, SIDE, SIDE) float32 RGB in [-1, 1] and gives (1, E). It sees one crop at a
    time: a batch could change the last bits.

    Args:
        name: ``FILE`` or ``FILE#SIDE``, a path or a name below a weights folder; ``.onnx``, else
            TorchScript.
        store: weights folders.
        threads: of the net.

    Attributes:
        name: the file's name, its hash, the side: what shards keep.

    Raises:
        InputError: no such file, or it is neither.
    """

    def __init__(self, name: str, store: Store, threads: int = 1) -> None:
        plain, _, side = name.partition("#")
        if side and not side.isdigit():
            raise InputError(f"expression={name}: write FILE#SIDE, the side in pixels")
        places = [Path(plain).expanduser(), *(folder / plain for folder in store.folders)]
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            raise InputError(f"no expression net {plain!r}: give a file, or expression=landmarks")
        self.side, self._path, self._threads = int(side or SIDE), path, threads
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
        self.name = f"{path.name}@{digest}#{self.side}"
        self._run: Run | None = None

    def features(self, crops: np.ndarray) -> np.ndarray:
        """(T,S,S,3) uint8 RGB to (T,E) float32.

        Raises:
            InputError: the net gives something else.
        """
        self._run = self._run or self._open()
        rows = [np.asarray(self._run(self._given(crop)), np.float32) for crop in crops]
        if any(row.shape != rows[0].shape or row.ndim != 2 or len(row) != 1 for row in rows):
            raise InputError(f"{self._path} gives {rows[0].shape} for one crop, wanted is (1, E)")
        return np.concatenate(rows)

    def _given(self, crop: np.ndarray) -> np.ndarray:
        how = cv2.INTER_AREA if self.side < crop.shape[0] else cv2.INTER_LINEAR
        small = cv2.resize(crop, (self.side, self.side), interpolation=how)
        return (small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]

    def _open(self) -> Run:
        try:
            return self._onnx() if self._path.suffix == ".onnx" else self._script()
        except Exception as error:
            reason = str(error).splitlines()[0][:120]
            raise InputError(
                f"{self._path} is neither ONNX nor TorchScript ({reason}); export it again"
            ) from error

    def _onnx(self) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        net = onnxruntime.InferenceSession(
            str(self._path), options, providers=["CPUExecutionProvider"]
        )
        given = net.get_inputs()[0].name
        return lambda x: net.run(None, {given: x})[0]

    def _script(self) -> Run:
        import torch

        net = torch.jit.load(str(self._path), map_location="cpu").eval()

        def run(x: np.ndarray) -> Any:
            before = torch.get_num_threads()
            torch.set_num_threads(self._threads)
            try:
                with torch.inference_mode():
                    return net(torch.from_numpy(x)).numpy()
            finally:
                torch.set_num_threads(before)

        return run
