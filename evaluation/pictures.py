"""Contact sheets and the bytes of pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

GAP_PX = 4
PAPER = 250
"""Grey of the gaps: light enough for paper, and it reads on a dark page too."""

DIFFERENCE_GAIN = 4
SHEET_ROWS = ("before", "after", f"difference × {DIFFERENCE_GAIN}")


def difference(before: np.ndarray, after: np.ndarray, gain: float = DIFFERENCE_GAIN) -> np.ndarray:
    """What changed, ``gain`` times as strong, around mid-grey: (...) uint8."""
    gap = (after.astype(np.float32) - before.astype(np.float32)) * gain + 128
    return np.round(np.clip(gap, 0, 255)).astype(np.uint8)


def spread(count: int, wanted: int) -> np.ndarray:
    """Indices of ``wanted`` frames (or all) spread evenly over ``count``, int64."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))


def grid(rows: Sequence[np.ndarray], gap: int = GAP_PX) -> np.ndarray:
    """Rows of equally sized pictures as one picture.

    Args:
        rows: each (K,h,w,3) uint8, K and w equal in all; heights may differ.
        gap: pixels of paper between pictures.
    """
    strips = []
    for row in rows:
        count, height, width, _ = row.shape
        strip = np.full((height, count * (width + gap) - gap, 3), PAPER, np.uint8)
        for k, picture in enumerate(row):
            strip[:, k * (width + gap) : k * (width + gap) + width] = picture
        strips += [np.full((gap, strip.shape[1], 3), PAPER, np.uint8), strip]
    return np.concatenate(strips[1:])


def contact_sheet(before: np.ndarray, after: np.ndarray, columns: int = 8) -> np.ndarray:
    """Before, after and what changed (``DIFFERENCE_GAIN`` times), frames spread over the clip.

    Args:
        before: (T,h,w,3) uint8.
        after: likewise.
        columns: how many frames are shown.

    Returns:
        (3h + gaps, columns w + gaps, 3) uint8, rows as ``SHEET_ROWS`` names them.
    """
    assert before.shape == after.shape, f"before {before.shape}, after {after.shape}"
    at = spread(len(before), columns)
    return grid([before[at], after[at], difference(before[at], after[at])])


def compare_sheet(versions: Sequence[np.ndarray], columns: int = 8) -> np.ndarray:
    """The same frames by several systems, one row each; (T,h,w,3) uint8 each."""
    at = spread(len(versions[0]), columns)
    return grid([frames[at] for frames in versions])


def side_by_side(*clips: np.ndarray, gap: int = GAP_PX) -> np.ndarray:
    """Clips (T,h,w,3) uint8 of one size as one clip, left to right; sides made even for H.264."""
    frames = np.stack([grid([np.stack(shown)], gap) for shown in zip(*clips, strict=True)])
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    return frames[:, :height, :width]


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """JPEG bytes of (H,W,3) uint8 RGB."""
    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done, f"can't encode a picture of shape {image.shape}"
    return data.tobytes()


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a ``data:`` address that needs no file beside the page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
