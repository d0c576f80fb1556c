"""VBench's aesthetic and imaging quality: how do single frames look?"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from evaluation.metrics.features import torch_threads
from evaluation.metrics.vbench import OfVideo, batches
from evaluation.metrics.vbench_consistency import for_clip, load_clip
from evaluation.videos import Seen

LONGEST = 512
"""Pixels beyond which VBench shrinks a frame for MUSIQ."""


class AestheticQuality(OfVideo):
    """How beautiful frames are, about .1 to 1; the mean over videos of the mean over frames. Higher
    is better. Reference: none.

    Nets: CLIP ViT-L/14 (weight ``clip_vit_l14``), its vector brought to length 1, and LAION's
    linear head of 1 to 10 (weight ``laion_aesthetic``), divided by 10. Preprocessing: see
    ``for_clip``.

    What fools it: it judges the scene, the light and the framing, which an editor leaves alone, so
    look at the source's value; a soft, retouched face can beat the source.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_aesthetic_quality", "vbench_aesthetic@1"
    needs: tuple[str, ...] = ("clip_vit_l14", "laion_aesthetic")

    def _compute(self, seen: Seen) -> np.ndarray:
        from torch.nn import functional as F

        with torch_threads(self._threads):
            clip, head = self._nets
            parts = (F.normalize(clip(for_clip(part))) for part in batches(seen.frames))
            return np.concatenate([head(part)[:, 0].numpy() / 10 for part in parts])

    @cached_property
    def _nets(self) -> tuple[Any, Any]:
        # Imported here: torch, needed only where the values are not kept yet.
        from models.experts.clip_vision import AestheticHead
        from models.experts.published import load_published

        clip, head = self._files
        complaint = "no aesthetic head of LAION; convert sa_0_4_vit_l_14_linear.pth"
        return load_clip("clip_vit_l14", clip), load_published(AestheticHead, head, complaint)


class ImagingQuality(OfVideo):
    """How free frames are of blur, noise and bad exposure, 0 to 1; the mean over videos of the mean
    over frames. Higher is better. Reference: none.

    Net: MUSIQ on SPAQ (weight ``musiq_spaq``), its score of 0 to 100 divided by 100.
    Preprocessing: whole frames, the longer side at most 512 px (bilinear), in [0, 1].

    What fools it: sharpening; it sees the whole frame, so a blurred mouth hardly counts. A source
    in low quality has a low value, so look at the source's.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_imaging_quality", "vbench_musiq@1"
    needs: tuple[str, ...] = ("musiq_spaq",)

    def _compute(self, seen: Seen) -> np.ndarray:
        with torch_threads(self._threads):
            found = [self._net(longest(part)).numpy() / 100 for part in batches(seen.frames)]
        return np.concatenate(found)

    @cached_property
    def _net(self) -> Any:
        from models.experts.musiq import Musiq
        from models.experts.published import load_published

        complaint = "no MUSIQ of pyiqa; convert musiq_spaq_ckpt-358bb6af.pth"
        return load_published(Musiq, self._files[0], complaint)


def longest(pictures: Any) -> Any:
    """(B,3,h,w), no side longer than ``LONGEST``."""
    from torch.nn import functional as F

    scale = LONGEST / max(pictures.shape[2:])
    if scale >= 1:
        return pictures
    size = [int(scale * side) for side in pictures.shape[2:]]
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False)
