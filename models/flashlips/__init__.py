"""FlashLips (CVPR 2026): a one-step, mask-free latent editor driven by a 12-number lips vector."""

from __future__ import annotations

from models.flashlips.stages import SYSTEM

__all__ = ["SYSTEM"]
