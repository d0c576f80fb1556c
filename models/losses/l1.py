"""Mean absolute errors of FlashLips Sec. 3.1.3, over everything and over a support."""

from __future__ import annotations

from typing import Any


def mae(difference: Any) -> Any:
    """``MAE(A)``: mean of |A| over all elements of (B, ...) -> scalar (Eq. 4)."""
    return difference.abs().mean()


def masked_mae(difference: Any, mask: Any) -> Any:
    """``MAE_w(A)``: mean of |A| where ``mask`` is on, per sample (Eq. 4-6).

    Args:
        difference: (B,C,H,W).
        mask: (B,1,H,W) in [0, 1].

    Returns:
        (B,); 0 for a sample whose mask is empty.
    """
    total = (difference.abs() * mask).sum((1, 2, 3))
    return total / (mask.sum((1, 2, 3)) * difference.shape[1]).clamp(min=1e-6)
