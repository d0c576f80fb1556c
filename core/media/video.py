"""Reading video files with PyAV: frames with their times, frames at a constant rate.

Time 0 is the moment of a file's first frame; ``core.media.audio`` reads sound on the same clock.
Files are opened as what they are: plain local files in a container from a short list, so that a
playlist dressed as a video can't make the library read anything else.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from av.video.reformatter import Colorspace

from core.errors import InputError
from core.media.picture import ALONE, Picture, picture_of
from core.media.writing import MATRICES, UNTAGGED, VideoWriter, encode_mp4, hd

__all__ = [
    "FrameReader",
    "Image",
    "Picture",
    "Tally",
    "VideoInfo",
    "VideoWriter",
    "decode_mp4",
    "encode_mp4",
    "first_frame",
    "iterate_mp4",
    "opened",
    "probe",
    "rate",
    "read_frames",
    "read_frames_at",
    "read_pictures",
    "tally",
    "turn",
    "untagged_hd",
]

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,gif,h264,hevc,"
    "wav,w64,flac,mp3,aac,aiff,caf,au"
)
"""Demuxers that may open a person's file; none of them follows references to other files."""

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SMIL", b"[playlist]", b"v=0")
Image = Picture | np.ndarray
"""A frame: (H, W, 3) uint8 RGB, or what gives that where it is looked at."""
FrameReader = Callable[[Path, float | None, float | None], Iterator[tuple[float, Image]]]
"""Path, start, end -> (time, frame) at the file's own rate, as ``read_frames`` gives them."""

EARLIER_S = (1.0, 10.0, math.inf)
"""How far before an asked time reading begins: farther when the last try came out behind it."""
WHOLE = 0.98
"""A file with fewer than this part of its promised frames counts as truncated."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says about itself.

    Attributes:
        path: of the file.
        width, height: as shown, after rotation, pixels.
        fps: average frame rate, exact.
        frames: how many the container promises, or None when it doesn't say.
        duration_s: of the picture, in seconds.
        has_sound: whether there is a sound track.
        rotation: degrees counter-clockwise, a multiple of 90, already applied by the readers.
        time_base: unit of the picture's times, seconds.
        colours: primaries, transfer and matrix as tagged (ITU-T H.273); 2 is untagged.
        pixel_aspect: width over height of a pixel as shown; 1 when the file doesn't say.
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration_s: float
    has_sound: bool
    rotation: int
    time_base: Fraction = Fraction(1, 90_000)
    colours: tuple[int, int, int] = (1, 1, 1)
    pixel_aspect: Fraction = Fraction(1)


@dataclass(frozen=True)
class Tally:
    """What lies in a video file, counted; what it says about itself may be wrong.

    Attributes:
        frames: encoded frames of the picture.
        picture_s: where the last of them ends, seconds from the first.
        end_s: where the last packet of any track ends.
    """

    frames: int
    picture_s: float
    end_s: float


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """A media file opened for reading, with the library held to this one file.

    Raises:
        InputError: missing, empty, a playlist, or nothing the library can read; also for errors
            that it reports while the file is open.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    with path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        raise InputError(f"{path} is empty; give a video file")
    if head.startswith(PLAYLISTS):
        raise InputError(f"{path} is a playlist, not a video; give the video file it points to")
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        with av.open("file:" + str(path.resolve()), options=options) as container:
            yield container
    except (av.FFmpegError, OSError, UnicodeError) as error:
        raise InputError(
            f"can't read {path} as video or sound, it is damaged, cut off or another kind of file "
            f"({type(error).__name__}); give a complete media file"
        ) from error


def probe(path: Path) -> VideoInfo:
    """What the file says about itself, checked by decoding one frame.

    Raises:
        InputError: no readable video in it.
    """
    with opened(path) as container:
        stream, frame = picture(container, path), first_frame(container, path)
        angle = turn(frame)
        width, height = frame.width, frame.height
        if angle % 180:
            width, height = height, width
        fps = _rate(stream)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        info = VideoInfo(
            path=Path(path),
            width=width,
            height=height,
            fps=fps,
            frames=stream.frames or None,
            duration_s=_duration(container, stream, fps),
            has_sound=bool(container.streams.audio),
            rotation=angle,
            time_base=stream.time_base or Fraction(1, 90_000),
            colours=(int(frame.color_primaries), int(frame.color_trc), int(frame.colorspace)),
            pixel_aspect=1 / aspect if angle % 180 else aspect,
        )
    # Browsers record webm without a length: the header is written before it is known.
    return info if info.duration_s > 0 else replace(info, duration_s=tally(path).picture_s)


def tally(path: Path) -> Tally:
    """Counts what a file holds, without decoding: some milliseconds a minute of video.

    Raises:
        InputError: no readable video in it.
    """
    with opened(path) as container:
        stream = picture(container, path)
        zero, shown_s = _start(stream), 1 / float(_rate(stream))
        frames, picture_s, end_s = 0, 0.0, 0.0
        for packet in container.demux():
            at = packet.dts if packet.pts is None else packet.pts
            ours = packet.stream.index == stream.index and packet.size > 0
            frames += ours
            if at is None or packet.time_base is None:
                picture_s = max(picture_s, frames * shown_s)  # a bare stream has no clock
                continue
            if ours:
                picture_s = max(picture_s, float(at * packet.time_base) - zero + shown_s)
            end_s = max(end_s, float((at + (packet.duration or 0)) * packet.time_base) - zero)
        return Tally(frames, picture_s, max(end_s, picture_s))


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
        stream = picture(container, path)
        half = 0.5 / float(_rate(stream))
        zero = _start(stream)
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
    zero = _start(stream)
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


def untagged_hd(frame: av.VideoFrame) -> bool:
    """Whether a frame of HD size doesn't say which colour matrix it uses."""
    return frame.colorspace == UNTAGGED and hd(frame.width, frame.height)


def first_frame(container: av.container.InputContainer, path: Path) -> av.VideoFrame:
    """The first frame of an opened file.

    Raises:
        InputError: there is none.
    """
    frame: av.VideoFrame | None = next(container.decode(picture(container, path)), None)
    if frame is None:
        raise InputError(f"{path} has no complete video frame; give a complete video file")
    return frame


def rate(container: av.container.InputContainer, path: Path) -> Fraction:
    """Average frames a second of an opened file."""
    return _rate(picture(container, path))


def picture(container: av.container.InputContainer, path: Path) -> Any:
    """The first real video track (cover art is none)."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{path} has no video track; give a file with a picture")


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


def turn(frame: av.VideoFrame) -> int:
    """Degrees counter-clockwise to turn a frame by, a multiple of 90."""
    return round(frame.rotation / 90) * 90 % 360


def _start(stream: Any) -> float:
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0


def _rate(stream: Any) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


def _duration(container: av.container.InputContainer, stream: Any, fps: Fraction) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if stream.frames:
        return float(stream.frames / fps)
    return (container.duration or 0) / 1e6
