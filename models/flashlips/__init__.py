"""FlashLips (CVPR 2026): a one-step, mask-free latent editor driven by a 12-number lips vector."""

from __future__ import annotations

from typing import Any

__all__ = ["SYSTEM"]


def __getattr__(name: str) -> Any:
    # Imported late: the stages load data and experts, which the nets alone do without.
    if name == "SYSTEM":
        from models.flashlips.stages import SYSTEM

        return SYSTEM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
