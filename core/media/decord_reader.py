"""Reading frames with decord, which can decode on a GPU where its build can.

On a CPU it is no faster: four seconds of a 1080 x 1920 file took it about twice PyAV's CPU time
(it indexes the whole file first). For trusted corpora only: decord opens whatever its own FFmpeg
can, without the limits of ``core.media.container.opened``.

It gives PyAV's very bytes where ``exact`` says so; other files are left to PyAV. Measured with
decord 0.6.0: H.264 in MP4 is bit-identical; in MPEG program streams its seeks land frames later
than asked, without a word (12 in a GRID clip); HD without a colour tag is read as SD's matrix (off
by 7 of 255 on average, by 36 at most).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InputError
from core.media.container import first_frame, opened, rate, track, turn, untagged_hd
from core.media.video import read_frames

INDEXED = {"mov", "mp4", "matroska", "webm"}
"""Containers with an index, in which decord's seeks land where they should."""
BATCH = 16
"""Frames fetched at once; a 4K frame is 25 MB."""


def exact(path: Path) -> bool:
    """Whether decord gives the same frames of this file as ``core.media.video.read_frames``.

    Raises:
        InputError: the file can't be read.
    """
    with opened(path) as container:
        frame = first_frame(container, path)
        return (
            bool(INDEXED & set(container.format.name.split(",")))
            and frame.format.name == "yuv420p"
            and turn(frame) == 0
            and not untagged_hd(frame)
        )


def read_frames_decord(
    path: Path, start_s: float | None = None, end_s: float | None = None, gpu: bool = False
) -> Iterator[tuple[float, np.ndarray]]:
    """As ``core.media.video.read_frames``, by decord where that is exact.

    Args:
        path: of the file.
        start_s: where to begin, seconds from the first frame; None is there.
        end_s: where to end, exclusive; None is the file's end.
        gpu: decode on the GPU, for which decord must be built; its last bits differ.

    Yields:
        (time in seconds, (H, W, 3) uint8 RGB).

    Raises:
        InputError: decord is not installed, can't use a GPU, or can't read the file.
    """
    if not exact(path):
        yield from read_frames(path, start_s, end_s)
        return
    reader = _open(path, gpu)
    with opened(path) as container:
        half = 0.5 / float(rate(track(container, path)))
    times = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    times = times - times[0]
    last = np.inf if end_s is None else end_s
    wanted = np.flatnonzero((times >= (start_s or 0.0) - half) & (times < last - half))
    for first in range(0, len(wanted), BATCH):
        index = wanted[first : first + BATCH]
        try:
            frames = reader.get_batch(index).asnumpy()
        except Exception as error:  # decord's own type derives from nothing narrower
            raise InputError(
                f"decord can't read {path} to its end; use reader=pyav ({_short(error)})"
            ) from error
        yield from zip(times[index].tolist(), frames, strict=True)


def _open(path: Path, gpu: bool) -> Any:
    try:
        import decord
    except ImportError as error:
        raise InputError(
            "reader=decord needs decord: run 'pip install decord', or set reader=pyav"
        ) from error
    try:
        context = decord.gpu(0) if gpu else decord.cpu(0)
        return decord.VideoReader(str(path), ctx=context, num_threads=1)
    except decord.DECORDError as error:
        remedy = "reader=decord" if gpu else "reader=pyav"
        where = " on a GPU (a decord built with CUDA can)" if gpu else ""
        raise InputError(
            f"decord can't open {path}{where}; use {remedy} ({_short(error)})"
        ) from error


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rpartition(": ")[2][:80]
