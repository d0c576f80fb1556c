"""A decoded frame whose colours are converted only where somebody looks.

Most of a frame is never looked at: of 4:2:0 video, a face is tracked, cut out and put back, and the
rest goes to the encoder as the very samples that the decoder gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from core.media.crop import cover, resample

FORMAT = "yuv420p"
WEIGHTS = {Colorspace.ITU709: (0.2126, 0.0722), Colorspace.ITU601: (0.299, 0.114)}
"""Shares of red and blue in luma (ITU-R BT.709 and BT.601), by matrix."""
ALONE = 1
"""Threads of the colour converter: starting more takes several times as long as its work."""
WHOLE = 32
"""Pixels that the colour converter takes at once."""


class Picture:
    """(H, W, 3) uint8 RGB in what is asked of it here, 8-bit 4:2:0 in memory.

    It is never changed: ``pasted`` gives another one.

    Args:
        frame: of ``FORMAT``, limited range, the way it is shown.
        matrix: a key of ``WEIGHTS``.
    """

    ndim, dtype = 3, np.dtype(np.uint8)

    def __init__(self, frame: av.VideoFrame, matrix: Colorspace) -> None:
        self.frame, self.matrix = frame, matrix
        self.shape = (frame.height, frame.width, 3)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it."""
        return np.asarray(_rgb(self.frame, self.matrix), dtype=dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """A part as an array; of slices of rows and columns no more than they show is converted."""
        if not (isinstance(key, tuple) and len(key) == 2 and all(_plain(k) for k in key)):
            return np.asarray(self)[key]
        (y0, y1, _), (x0, x1, _) = (k.indices(n) for k, n in zip(key, self.shape, strict=False))
        if y1 <= y0 or x1 <= x0:
            return np.zeros((max(0, y1 - y0), max(0, x1 - x0), 3), np.uint8)
        return self._part(y0, y1, x0, x1)

    def _part(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Rows and columns as RGB. Two rows and columns share their colour: even places only."""
        top, left = y0 // 2 * 2, x0 // 2 * 2
        # Odd heights and widths that fill no register are rounded in another way than frames are.
        part = blank(-(-(x1 - left) // WHOLE) * WHOLE, -(-(y1 - top) // 2) * 2)
        for index, (new, old) in enumerate(zip(planes(part), planes(self.frame), strict=True)):
            row, column = (top // 2, left // 2) if index else (top, left)
            mine = old[row : row + new.shape[0], column : column + new.shape[1]]
            new[: mine.shape[0], : mine.shape[1]] = mine
        return _rgb(part, self.matrix)[y0 - top : y1 - top, x0 - left : x1 - left]

    def pasted(self, crop: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> Picture:
        """A crop blended in; samples where the weight is 0 are the very same.

        Args:
            crop: (h, w, 3) RGB, any real type, 0 to 255.
            back: (2, 3), crop pixels -> frame pixels.
            alpha: (h, w) in [0, 1].
        """
        out = blank(self.shape[1], self.shape[0])
        coloured = np.clip(np.asarray(crop, np.float32), 0, 255) @ _encoding(self.matrix).T
        for index, (new, old) in enumerate(zip(planes(out), planes(self.frame), strict=True)):
            new[:] = old
            offset = 128.0 if index else 16.0
            _blend(new, coloured[..., index] + np.float32(offset), _onto(back, index > 0), alpha)
        return Picture(out, self.matrix)


def picture_of(frame: av.VideoFrame, matrix: Colorspace | None, turns: int) -> Picture | None:
    """A frame, turned by quarters counter-clockwise, as a picture; None where it can't be one.

    Args:
        frame: as decoded.
        matrix: of its colours, if known.
        turns: 0 to 3.
    """
    full = frame.color_range == ColorRange.JPEG
    if frame.format.name != FORMAT or full or matrix is None or matrix not in WEIGHTS:
        return None
    if not turns:
        return Picture(frame, matrix)
    if frame.width % 2 or frame.height % 2:
        return None
    size = (frame.width, frame.height) if turns % 2 == 0 else (frame.height, frame.width)
    turned = blank(*size)
    for plane, old in zip(planes(turned), planes(frame), strict=True):
        plane[:] = np.rot90(old, turns)
    return Picture(turned, matrix)


def blank(width: int, height: int) -> av.VideoFrame:
    """A frame of ``FORMAT`` with whatever lies in its memory."""
    return av.VideoFrame(width, height, FORMAT)


def planes(frame: av.VideoFrame) -> Sequence[np.ndarray]:
    """Luma (H, W) and the two colours ((H+1)//2, (W+1)//2), uint8, as they lie in memory."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:high, :wide]
        for plane, high, wide in ((p, p.height, p.width) for p in frame.planes)
    ]


def _plain(key: Any) -> bool:
    return isinstance(key, slice) and key.step in (None, 1)


def _rgb(frame: av.VideoFrame, matrix: Colorspace) -> np.ndarray:
    return frame.reformat(format="rgb24", src_colorspace=matrix, threads=ALONE).to_ndarray()


def _encoding(matrix: Colorspace) -> np.ndarray:
    """RGB (0 to 255) to Y, Cb, Cr of limited range, without their offsets: (3, 3) float32."""
    red, blue = WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    scale = np.array([[219.0], [224.0], [224.0]]) / 255
    return (np.stack([luma, cb, cr]) * scale).astype(np.float32)


def _onto(back: np.ndarray, halved: bool) -> np.ndarray:
    """Crop pixels -> samples of a plane; a colour sample lies amid its four pixels."""
    out = np.array(back, np.float64)
    if halved:
        out *= 0.5
        out[:, 2] -= 0.25
    return out


def _blend(plane: np.ndarray, values: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> None:
    """Blends values (h, w) into a plane where the weight, carried along, is above 0."""
    box = cover(back, alpha.shape, plane.shape, margin=1)
    if box is None:
        return
    x0, y0, x1, y1 = box
    moved, extent = back.copy(), (x1 - x0, y1 - y0)
    moved[:, 2] -= (x0, y0)
    given = resample(values, moved, extent, cv2.INTER_CUBIC, None)
    weight = resample(alpha.astype(np.float32), moved, extent, cv2.INTER_LINEAR, 0)
    part = plane[y0:y1, x0:x1]
    mixed = part + np.clip(weight, 0, 1) * (given - part)
    np.copyto(part, np.clip(np.rint(mixed), 0, 255).astype(np.uint8), where=weight > 0)
