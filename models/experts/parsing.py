"""Face parsing by SegFormer, from a folder on disk: class ids of a face crop's parts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.files import read_json
from core.media.parsing import CLASSES
from core.weights import Store

WEIGHTS = "segformer_face_parsing"
HUB = "hub:"
SIDE = 512
"""Input side where the folder doesn't say; the published net was trained at it."""
# ImageNet's statistics: what SegFormer's backbone was trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SYNONYMS = {
    "left_eye": "l_eye", "right_eye": "r_eye", "left_brow": "l_brow", "right_brow": "r_brow",
    "left_ear": "l_ear", "right_ear": "r_ear", "upper_lip": "u_lip", "lower_lip": "l_lip",
    "eye_glasses": "eye_g", "earring": "ear_r", "necklace": "neck_l",
}  # fmt: skip


class SegFormer:
    """A SegFormer whose classes are CelebAMask-HQ's, in any order.

    Args:
        source: a folder as ``save_pretrained`` writes it (config.json, model.safetensors); "" takes
            the registered one from ``store``; ``hub:OWNER/NAME`` asks the hub, and nothing else
            does.
        store: weights folders.
        threads: of torch.

    Raises:
        InputError: the folder is missing or no SegFormer, or has a class that faces don't have.
    """

    def __init__(self, source: str, store: Store, threads: int = 1) -> None:
        self._folder = (
            source.removeprefix(HUB) if source.startswith(HUB) else _folder(source, store)
        )
        self._local = not source.startswith(HUB)
        self._threads = threads
        self._net, self._ids = self._load()
        self._side, self._mean, self._std = self._statistics()

    @property
    def id(self) -> str:
        """``segformer@`` and 8 digits of its weights' hash, or the hub's name."""
        if not self._local:
            return f"segformer@{self._folder}"
        with (Path(self._folder) / "model.safetensors").open("rb") as file:
            return f"segformer@{hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"

    def parse(self, crop: np.ndarray) -> np.ndarray:
        """Class ids (S, S) uint8 of a face crop (S, S, 3) uint8 RGB."""
        import torch
        from torch.nn import functional as F

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                x = (
                    torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float()
                    / 255
                )
                x = F.interpolate(x, (self._side, self._side), mode="bilinear", antialias=True)
                logits = self._net(pixel_values=(x - self._mean) / self._std).logits
                logits = F.interpolate(logits, crop.shape[:2], mode="bilinear")
                found = logits.argmax(1)[0].numpy()
        finally:
            torch.set_num_threads(before)
        labels: np.ndarray = self._ids[found]
        return labels

    def _load(self) -> tuple[Any, np.ndarray]:
        from transformers import SegformerForSemanticSegmentation

        try:
            net = SegformerForSemanticSegmentation.from_pretrained(
                self._folder, local_files_only=self._local, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self._folder} holds no SegFormer that transformers can load: give a folder with "
                f"config.json and model.safetensors ({str(error).splitlines()[0][:80]})"
            ) from error
        return net.eval().requires_grad_(False), _ids(net.config.id2label, self._folder)

    def _statistics(self) -> tuple[int, Any, Any]:
        """Input side, mean and standard deviation, from the folder's preprocessor_config.json."""
        import torch

        path = Path(self._folder) / "preprocessor_config.json"
        said = read_json(path) if self._local and path.is_file() else {}
        size = said.get("size", SIDE)
        side = int(size.get("height", SIDE)) if isinstance(size, dict) else int(size)
        mean, std = said.get("image_mean", MEAN), said.get("image_std", STD)
        return side, torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)


def _folder(source: str, store: Store) -> str:
    if not source:
        return str(store.locate(WEIGHTS))
    folder = Path(os.path.expandvars(source)).expanduser()
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise InputError(
            f"parsing_weights={source}: no folder with config.json and model.safetensors; "
            f"give one, or {HUB}OWNER/NAME to ask the hub"
        )
    return str(folder)


def _ids(names: Any, folder: str) -> np.ndarray:
    """Our class id for each of the net's (id -> name), (N,) uint8."""
    ours = [SYNONYMS.get(name, name) for _, name in sorted(names.items())]
    odd = sorted(set(ours) - set(CLASSES))
    if odd:
        raise InputError(
            f"{folder} knows classes that are none of a face ({', '.join(odd[:3])}); its config's "
            f"id2label must name CelebAMask-HQ's: {', '.join(CLASSES)}"
        )
    return np.array([CLASSES.index(name) for name in ours], np.uint8)
