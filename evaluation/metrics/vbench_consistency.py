"""VBench's subject and background consistency: does a video go on showing the same?"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics.features import torch_threads
from evaluation.metrics.vbench import OfVideo, batches, normalised, shorter
from evaluation.videos import Seen

SIDE = 224
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Mean and deviation of the channels."""


class Consistency(OfVideo):
    """The cosine of each frame's vector with the frame's before and with the first frame's, those
    below 0 counted as 0, halved and summed; the mean over all frames but each video's first, 0 to
    1. Higher is better. Reference: none.

    What fools it: a frozen picture has 1, and so has a mouth that never moves; what changes in a
    face that talks is small to these nets, so good systems lie within a hundredth of each other and
    of their source. A video is compared with its own first frame, never with its source: another
    person throughout is consistent.
    """

    by_frame = True

    def _compute(self, seen: Seen) -> np.ndarray:
        with torch_threads(self._threads):
            found = [self._net(self._prepared(part)).numpy() for part in batches(seen.frames)]
        return likeness(np.concatenate(found).astype(np.float64))

    @abstractmethod
    def _prepared(self, pictures: Any) -> Any:
        """The net's input, from (B,3,h,w) in [0, 1]."""

    @cached_property
    @abstractmethod
    def _net(self) -> Any:
        """Gives (B,C)."""


class SubjectConsistency(Consistency):
    """Consistency by DINO, which says what a picture shows. See ``Consistency``.

    Net: DINO ViT-B/16 (weight ``dino_vitb16``). Preprocessing: whole frames, the shorter side
    224 px (bilinear), ImageNet's mean and deviation; the net sees the longer side in full.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_subject_consistency", "vbench_dino@1"
    needs: tuple[str, ...] = ("dino_vitb16",)

    def _prepared(self, pictures: Any) -> Any:
        return normalised(shorter(pictures, SIDE, "bilinear"), *IMAGENET)

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the values are not kept yet.
        from models.experts.dino import Dino
        from models.experts.published import load_published

        return load_published(
            Dino, self._files[0], "no DINO ViT-B/16; convert dino_vitbase16_pretrain.pth"
        )


class BackgroundConsistency(Consistency):
    """Consistency by CLIP, which says what a scene is. See ``Consistency``.

    Net: CLIP ViT-B/32 (weight ``clip_vit_b32``), in float32. Preprocessing: see ``for_clip``, so
    what lies left and right of the middle square of a wide frame is not seen.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_background_consistency", "vbench_clip_b32@1"
    needs: tuple[str, ...] = ("clip_vit_b32",)

    def _prepared(self, pictures: Any) -> Any:
        return for_clip(pictures)

    @cached_property
    def _net(self) -> Any:
        return load_clip("clip_vit_b32", self._files[0])


def likeness(vectors: np.ndarray) -> np.ndarray:
    """(T-1,) of vectors (T,C): see ``Consistency``."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    before, first = (unit[1:] * unit[:-1]).sum(1), (unit[1:] * unit[:1]).sum(1)
    return (before.clip(0) + first.clip(0)) / 2


def for_clip(pictures: Any) -> Any:
    """CLIP's input (B,3,224,224) from (B,3,h,w) in [0, 1]: the shorter side 224 px (bicubic), the
    middle square, CLIP's mean and deviation."""
    x = shorter(pictures, SIDE, "bicubic")
    top, left = (round((size - SIDE) / 2) for size in x.shape[2:])
    return normalised(x[:, :, top : top + SIDE, left : left + SIDE], *CLIP)


def load_clip(name: str, weights: Path) -> Any:
    """CLIP's net of that name, (B,3,224,224) to (B,C).

    Raises:
        InputError: the file holds something else.
    """
    from models.experts.clip_vision import UNUSED, ClipVision
    from models.experts.published import load_published

    complaint = f"no CLIP ({name}) with the keys of Hugging Face; get its model.safetensors"
    return load_published(lambda: ClipVision(name), weights, complaint, UNUSED)
