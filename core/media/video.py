"""Reading video files with PyAV: frames with their times, frames at a constant rate.

Time 0 is the moment of a file's first frame; ``core.media.audio`` reads sound on the same clock.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from core.errors import InputError
from core.media.container import (
    Tally,
    VideoInfo,
    first_time,
    opened,
    probe,
    rate,
    tally,
    track,
    turn,
    untagged_hd,
)
from core.media.picture import ALONE, Picture, picture_of
from core.media.writing import MATRICES, UNTAGGED, VideoWriter, encode_mp4

__all__ = [
    "FrameReader",
    "Image",
    "Picture",
    "Tally",
    "VideoInfo",
    "VideoWriter",
    "decode_mp4",
    "encode_mp4",
    "iterate_mp4",
    "probe",
    "read_frames",
    "read_frames_at",
    "read_pictures",
    "tally",
]

Image = Picture | np.ndarray
"""A frame: (H, W, 3) uint8 RGB, or what gives that where it is looked at."""
FrameReader = Callable[[Path, float | None, float | None], Iterator[tuple[float, Image]]]
"""Path, start, end -> (time, frame) at the file's own rate, as ``read_frames`` gives them."""

EARLIER_S = (1.0, 10.0, math.inf)
"""How far before an asked time reading begins: farther when the last try came out behind it."""
WHOLE = 0.98
"""A file with fewer than this part of its promised frames counts as truncated."""


def read_frames(
    path: Path, start_s: float | None = None, end_s: float | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Frames at the file's own rate.

    Args:
        path: of the file.
        start_s: where to begin, seconds from the first frame; None is there.
        end_s: where to end, exclusive; None is the file's end.

    Yields:
        (time in seconds, (H, W, 3) uint8 RGB), rotation applied.

    Raises:
        InputError: no readable video; or, after its last frame, a file with clearly fewer frames
            than promised.
    """
    return ((time, _pixels(frame)) for time, frame in _between(path, start_s, end_s))


def read_pictures(
    path: Path, start_s: float | None = None, end_s: float | None = None
) -> Iterator[tuple[float, Image]]:
    """``read_frames``, but 8-bit 4:2:0 frames stay as they are until somebody looks at them.

    Args:
        path: of the file.
        start_s: where to begin, seconds from the first frame; None is there.
        end_s: where to end, exclusive; None is the file's end.

    Yields:
        (time in seconds, ``Picture`` or (H, W, 3) uint8 RGB), rotation applied.

    Raises:
        InputError: as ``read_frames``.
    """
    for time, frame in _between(path, start_s, end_s):
        picture = picture_of(frame, _matrix(frame), turn(frame) // 90)
        yield time, _pixels(frame) if picture is None else picture


def _between(
    path: Path, start_s: float | None, end_s: float | None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Decoded frames of a part of a file, with their times."""
    for time, half, frame in _decoded(path, start_s):
        if start_s is not None and time < start_s - half:
            continue
        if end_s is not None and time >= end_s - half:
            return
        yield time, frame


def read_frames_at(
    path: Path,
    fps: float = 25,
    span_s: tuple[float, float] | None = None,
    read: FrameReader | None = None,
) -> Iterator[tuple[float, Any]]:
    """Frames at a constant rate: for each output time the source frame nearest to it.

    Only frames that are given are turned into pixels: of 240 a second, 25 cost that.

    Args:
        path: of the file.
        fps: output frames a second.
        span_s: (start, end) in seconds, or None for the whole file.
        read: gives frames at the file's own rate; ``read_frames`` by default.

    Yields:
        (time, (H, W, 3) uint8 RGB, or what ``read`` gives) at ``start + k / fps``.

    Raises:
        InputError: as ``read_frames``.
    """
    start, end = span_s if span_s is not None else (0.0, math.inf)
    step, k = 1 / fps, 0
    frames, pixels_of = _source(path, start, end, read)
    gap, last = step, -math.inf
    shown: Any = None
    pixels: Any = None
    for time, frame in frames:
        if shown is not None:
            gap = time - last
            while start + k * step < min((last + time) / 2 - 1e-6, end - step / 2):
                pixels = pixels_of(shown) if pixels is None else pixels
                yield start + k * step, pixels
                k += 1
            if start + k * step >= end - step / 2:
                return
        last, shown, pixels = time, frame, None
    while shown is not None and start + k * step < min(end, last + gap) - step / 2:
        pixels = pixels_of(shown) if pixels is None else pixels
        yield start + k * step, pixels
        k += 1


def _source(
    path: Path, start: float, end: float, read: FrameReader | None
) -> tuple[Iterator[tuple[float, Any]], Callable[[Any], Any]]:
    """Frames with their times, and what makes pixels of one: a reader gives pixels already."""
    if read is None:
        return ((time, frame) for time, _, frame in _decoded(path, start)), _pixels
    return read(path, start, None if math.isinf(end) else end), lambda pixels: pixels


def _decoded(path: Path, start_s: float | None) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(time, half a frame's time, frame) from the start, or from before ``start_s``.

    Raises:
        InputError: as ``read_frames``.
    """
    with opened(path) as container:
        stream = track(container, path)
        half = 0.5 / float(rate(stream))
        zero = first_time(stream)
        near = bool(start_s and start_s > EARLIER_S[0])
        frames = _sought(container, stream, start_s or 0.0) if near else container.decode(stream)
        count = 0
        for frame in frames:
            time = count * 2 * half if frame.time is None else frame.time - zero
            count += 1
            yield time, half, frame
        if count == 0:
            raise InputError(f"{path} has no complete video frame; give a complete video file")
        if not start_s and count < WHOLE * stream.frames - 1:
            raise InputError(
                f"{path} is cut off: it holds {count} of {stream.frames} promised frames; "
                "give the complete file"
            )


def _sought(container: Any, stream: Any, start_s: float) -> Iterator[av.VideoFrame]:
    """Frames from before ``start_s`` on, where the file has any there.

    B-frames and coarse indexes may land behind the asked time, so it begins early. A broadcast
    stream has no index: what is found there is lost up to the next key frame, often a long way.
    """
    zero = first_time(stream)
    for early in EARLIER_S:
        container.seek(int((zero + max(0.0, start_s - early)) / stream.time_base), stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and (first.time is None or first.time - zero <= start_s):
            break
    return frames if first is None else itertools.chain([first], frames)


def decode_mp4(data: bytes) -> np.ndarray:
    """The frames (T, H, W, 3) uint8 RGB of an mp4's bytes.

    Raises:
        InputError: the bytes are no readable mp4.
    """
    return np.stack(list(iterate_mp4(data)))


def iterate_mp4(data: bytes) -> Iterator[np.ndarray]:
    """The frames (H, W, 3) uint8 RGB of an mp4's bytes, one at a time.

    Raises:
        InputError: the bytes are no readable mp4, or hold no frame.
    """
    empty = True
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            for frame in container.decode(video=0):
                empty = False
                yield _pixels(frame)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise InputError("a shard's video can't be decoded; preprocess it again") from error
    if empty:
        raise InputError("a shard's video can't be decoded; preprocess it again")


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned the way it is shown."""
    # What players take untagged HD for; the library would say SD.
    matrix = Colorspace.ITU709 if untagged_hd(frame) else None
    rgb = frame.reformat(format="rgb24", src_colorspace=matrix, threads=ALONE).to_ndarray()
    turns = turn(frame) // 90
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _matrix(frame: av.VideoFrame) -> Colorspace | None:
    """By which matrix a frame's colours are made, where it is a common one."""
    if frame.colorspace == UNTAGGED:
        return Colorspace.ITU709 if untagged_hd(frame) else Colorspace.ITU601
    return MATRICES.get(int(frame.colorspace))
