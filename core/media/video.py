"""Reading and writing video files with PyAV: frames with their times, constant-rate frames, H.264.

Time 0 is the moment of a file's first frame; ``core.media.audio`` reads sound on the same clock.
Files are opened as what they are: plain local files in a container from a short list, so that a
playlist dressed as a video can't make the library read anything else.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.container
import numpy as np
from av.video.reformatter import Colorspace

from core.errors import InputError
from core.files import atomic

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,gif,h264,hevc,"
    "wav,w64,flac,mp3,aac,aiff,caf,au"
)
"""Demuxers that may open a person's file; none of them follows references to other files."""

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SMIL", b"[playlist]", b"v=0")
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
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration_s: float
    has_sound: bool
    rotation: int


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
        stream = _picture(container, path)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise InputError(f"{path} has no complete video frame; give a complete video file")
        turn = _turn(frame)
        width, height = frame.width, frame.height
        if turn % 180:
            width, height = height, width
        fps = _rate(stream)
        return VideoInfo(
            path=Path(path),
            width=width,
            height=height,
            fps=fps,
            frames=stream.frames or None,
            duration_s=_duration(container, stream, fps),
            has_sound=bool(container.streams.audio),
            rotation=turn,
        )


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
    with opened(path) as container:
        stream = _picture(container, path)
        half = 0.5 / float(_rate(stream))
        zero = _start(stream)
        if start_s and start_s > 1:
            # A second early: B-frames and coarse indexes may land behind the asked time.
            assert stream.time_base is not None
            container.seek(int((zero + start_s - 1) / stream.time_base), stream=stream)
        count = 0
        for frame in container.decode(stream):
            time = count * 2 * half if frame.time is None else frame.time - zero
            count += 1
            if start_s is not None and time < start_s - half:
                continue
            if end_s is not None and time >= end_s - half:
                return
            yield time, _pixels(frame)
        if count == 0:
            raise InputError(f"{path} has no complete video frame; give a complete video file")
        if not start_s and count < WHOLE * stream.frames - 1:
            raise InputError(
                f"{path} is cut off: it holds {count} of {stream.frames} promised frames; "
                "give the complete file"
            )


def read_frames_at(
    path: Path, fps: float = 25, span_s: tuple[float, float] | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Frames at a constant rate: for each output time the source frame nearest to it.

    Args:
        path: of the file.
        fps: output frames a second.
        span_s: (start, end) in seconds, or None for the whole file.

    Yields:
        (time, (H, W, 3) uint8 RGB) at ``start + k / fps``.

    Raises:
        InputError: as ``read_frames``.
    """
    start, end = span_s if span_s is not None else (0.0, None)
    step, k = 1 / fps, 0
    last: tuple[float, np.ndarray] | None = None
    gap = step
    for time, frame in read_frames(path, start, end):
        if last is not None:
            gap = time - last[0]
            while start + k * step < (last[0] + time) / 2 - 1e-6:
                yield start + k * step, last[1]
                k += 1
        last = (time, frame)
    stop = end if end is not None else (last[0] + gap if last else 0.0)
    while last is not None and start + k * step < min(stop, last[0] + gap) - step / 2:
        yield start + k * step, last[1]
        k += 1


class VideoWriter:
    """Writes an H.264 + AAC mp4 frame by frame; the file appears, whole, when the block ends well.

    Args:
        path: of the mp4.
        width, height: of the frames, pixels; odd sizes are kept (written as 4:4:4).
        fps: exact frame rate.
        sound: mono float32 in [-1, 1] on the frames' clock, or None; cut or padded to the picture.
        sample_rate: of the sound.
        crf: x264's quality, lower is better.
        metadata: tags of the file.

    Raises:
        InputError: on entering, when the folder can't be written.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: Fraction,
        sound: np.ndarray | None = None,
        sample_rate: int = 16_000,
        crf: int = 18,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._path, self._size, self._fps, self._crf = Path(path), (width, height), fps, crf
        self._sound = None if sound is None else np.asarray(sound, np.float32).reshape(-1)
        self._rate, self._metadata = sample_rate, dict(metadata or {})
        self._frames = self._samples = 0
        self._stack = ExitStack()

    def __enter__(self) -> VideoWriter:
        part = self._stack.enter_context(atomic(self._path))
        options = {"movflags": "+faststart+use_metadata_tags"}
        self._container = av.open(str(part), "w", format="mp4", options=options)
        self._container.metadata.update(self._metadata)
        self._video = _h264(self._container, self._size, self._fps, self._crf)
        if self._sound is not None:
            self._audio = self._container.add_stream("aac", rate=self._rate, layout="mono")
            self._audio.bit_rate = 128_000 if self._rate > 24_000 else 64_000
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB."""
        assert frame.shape == (self._size[1], self._size[0], 3), f"frame of shape {frame.shape}"
        self._container.mux(self._video.encode(_picture_of(frame, self._frames, self._fps)))
        self._frames += 1
        self._write_sound()

    def _write_sound(self) -> None:
        """Sound up to the end of the last frame, so that both tracks are interleaved."""
        if self._sound is None:
            return
        end = round(self._frames / self._fps * self._rate)
        piece = self._sound[self._samples : end]
        piece = np.pad(piece, (0, end - self._samples - len(piece)))
        block = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = self._rate, self._samples
        block.time_base = Fraction(1, self._rate)
        self._samples = end
        self._container.mux(self._audio.encode(block))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                if self._sound is not None:
                    self._container.mux(self._audio.encode(None))
            self._container.close()
        finally:
            self._stack.__exit__(kind, error, trace)


def encode_mp4(frames: np.ndarray, fps: Fraction | float = 25, crf: int = 18) -> bytes:
    """Frames (T, H, W, 3) uint8 RGB as the bytes of an H.264 mp4 without sound."""
    assert len(frames), "no frames to encode"
    rate = Fraction(fps).limit_denominator(1001)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = _h264(container, (frames.shape[2], frames.shape[1]), rate, crf)
        for index, frame in enumerate(frames):
            container.mux(stream.encode(_picture_of(frame, index, rate)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode_mp4(data: bytes) -> np.ndarray:
    """The frames (T, H, W, 3) uint8 RGB of an mp4's bytes.

    Raises:
        InputError: the bytes are no readable mp4.
    """
    try:
        with av.open(io.BytesIO(data), format="mp4") as container:
            return np.stack([_pixels(frame) for frame in container.decode(video=0)])
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise InputError("a shard's video can't be decoded; preprocess it again") from error


def _h264(container: Any, size: tuple[int, int], fps: Fraction, crf: int) -> Any:
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    # One thread: x264's bytes depend on the number, and shards should be the same everywhere.
    stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
    stream.time_base = stream.codec_context.time_base = 1 / fps
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
    return stream


def _picture_of(frame: np.ndarray, index: int, fps: Fraction) -> av.VideoFrame:
    """RGB as a BT.709 frame of the encoder's kind, with its time."""
    odd = frame.shape[0] % 2 or frame.shape[1] % 2
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv444p" if odd else "yuv420p", dst_colorspace=Colorspace.ITU709
    )
    picture.pts, picture.time_base = index, 1 / fps
    return picture


def _picture(container: av.container.InputContainer, path: Path) -> Any:
    """The first real video track (cover art is none)."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise InputError(f"{path} has no video track; give a file with a picture")


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned the way it is shown."""
    rgb = frame.to_ndarray(format="rgb24")
    turns = _turn(frame) // 90
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _turn(frame: av.VideoFrame) -> int:
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
