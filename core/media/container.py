"""Opening video files, and what they say about themselves.

Files are opened as what they are: plain local files in a container from a short list, so that a
playlist dressed as a video can't make the library read anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container

from core.errors import InputError
from core.media.writing import UNTAGGED, hd

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,gif,h264,hevc,"
    "wav,w64,flac,mp3,aac,aiff,caf,au"
)
"""Demuxers that may open a person's file; none of them follows references to other files."""

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SMIL", b"[playlist]", b"v=0")


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
        stream, frame = track(container, path), first_frame(container, path)
        angle = turn(frame)
        width, height = frame.width, frame.height
        if angle % 180:
            width, height = height, width
        fps = rate(stream)
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
        stream = track(container, path)
        zero, shown_s = first_time(stream), 1 / float(rate(stream))
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


def untagged_hd(frame: av.VideoFrame) -> bool:
    """Whether a frame of HD size doesn't say which colour matrix it uses."""
    return frame.colorspace == UNTAGGED and hd(frame.width, frame.height)


def first_frame(container: av.container.InputContainer, path: Path) -> av.VideoFrame:
    """The first frame of an opened file.

    Raises:
        InputError: there is none.
    """
    frame: av.VideoFrame | None = next(container.decode(track(container, path)), None)
    if frame is None:
        raise InputError(f"{path} has no complete video frame; give a complete video file")
    return frame


def track(container: av.container.InputContainer, path: Path) -> Any:
    """The first real video track (cover art is none)."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{path} has no video track; give a file with a picture")


def turn(frame: av.VideoFrame) -> int:
    """Degrees counter-clockwise to turn a frame by, a multiple of 90."""
    return round(frame.rotation / 90) * 90 % 360


def first_time(stream: Any) -> float:
    """A track's time of its first frame, seconds: what all other times are counted from."""
    return float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0


def rate(stream: Any) -> Fraction:
    """Average frames a second of a track; 25 where nothing is said."""
    return Fraction(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


def _duration(container: av.container.InputContainer, stream: Any, fps: Fraction) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if stream.frames:
        return float(stream.frames / fps)
    return (container.duration or 0) / 1e6
