"""Writing video with PyAV: H.264 (BT.709, tagged) and AAC in mp4. Import it from ``video``."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Colorspace

from core.files import atomic
from core.media.encoders import ENCODERS, encoder
from core.media.picture import ALONE, Picture

if TYPE_CHECKING:
    from core.media.tracks import Track


PRESET = "veryfast"
BT709 = (1, 1, 1)
UNTAGGED = 2
MATRICES = {
    1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}  # fmt: skip
"""By H.273's number."""


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

    Attributes:
        encoder: a name of ``core.media.encoders``, to be set before entering; which one it was is
            said here afterwards.
        preset: likewise; x264's time against bytes.
        threads: likewise; x264's bytes depend on their number, and shards should be the same
            everywhere: one. 0 takes the machine's.
        tracks: likewise; what else is written beside the picture (``core.media.tracks``).
        time_base: likewise; unit of the times that ``write`` is given, seconds.
        colours: likewise; primaries, transfer and matrix to encode by and to tag (ITU-T H.273).
        pixel_aspect: likewise; width over height of a pixel.

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
        self._path, self._size, self._fps = Path(path), (width, height), fps
        self._crf, self.threads = crf, 1
        self._sound = None if sound is None else np.asarray(sound, np.float32).reshape(-1)
        self._rate, self._metadata = sample_rate, dict(metadata or {})
        self.tracks: Sequence[Track] = ()
        self.time_base, self._last = 1 / fps, -1
        self.colours, self.pixel_aspect = BT709, Fraction(1)
        self.encoder, self.preset = "x264", PRESET
        self._frames = self._samples = 0
        self._stack = ExitStack()

    def __enter__(self) -> VideoWriter:
        self.encoder, chosen = encoder(self.encoder, self._size)
        options = chosen.options(self._crf, self.preset, self.threads)
        part = self._stack.enter_context(atomic(self._path))
        flags = {"movflags": "+faststart+use_metadata_tags"}
        self._container = av.open(str(part), "w", format="mp4", options=flags)
        self._container.metadata.update(self._metadata)
        self._video = _stream(self._container, chosen.codec, self._size, self._fps, self.time_base)
        self._video.options = options
        if chosen.tag:
            self._video.codec_context.codec_tag = chosen.tag
        self._video.codec_context.sample_aspect_ratio = self.pixel_aspect
        self._matrix = tag(self._video.codec_context, self.colours, self._size)
        for track in self.tracks:
            track.attach(self._container)
        if self._sound is not None:
            self._audio = self._container.add_stream("aac", rate=self._rate, layout="mono")
            self._audio.bit_rate = 128_000 if self._rate > 24_000 else 64_000
        self._stack.push(self._finish)
        return self

    def write(self, frame: np.ndarray | Picture, time_s: float | None = None) -> None:
        """Adds a frame, (H, W, 3) uint8 RGB, shown from ``time_s`` on, or after 1 / fps.

        Of a picture with the encoder's own colours every sample is kept.
        """
        assert frame.shape == (self._size[1], self._size[0], 3), f"frame of shape {frame.shape}"
        if time_s is None:
            time_s = float(self._frames / self._fps)
        # Damaged files repeat times; a picture needs one of its own.
        self._last = max(self._last + 1, round(time_s / self.time_base))
        self._container.mux(
            self._video.encode(_picture_of(frame, self._last, self.time_base, self._matrix))
        )
        self._frames += 1
        self._write_sound()
        for track in self.tracks:
            self._container.mux(list(track.upto(time_s + float(1 / self._fps))))

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
        self._stack.__exit__(kind, error, trace)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        """Writes what is left. Of the stack: where it fails, no half of a video takes its place."""
        rest = [packet for track in self.tracks for packet in track.close()]
        if kind is None:
            self._container.mux(self._video.encode(None))
            self._container.mux(rest)
            if self._sound is not None:
                self._container.mux(self._audio.encode(None))
        self._container.close()


def encode_mp4(frames: Iterable[np.ndarray], fps: Fraction | float = 25, crf: int = 18) -> bytes:
    """Frames (H, W, 3) uint8 RGB, one by one, as the bytes of an H.264 mp4 without sound."""
    rate = Fraction(fps).limit_denominator(1001)
    buffer, stream = io.BytesIO(), None
    with av.open(buffer, "w", format="mp4") as container:
        for index, frame in enumerate(frames):
            if stream is None:
                size = frame.shape[1], frame.shape[0]
                stream = _stream(container, "libx264", size, rate, 1 / rate)
                stream.options = ENCODERS["x264"].options(crf, PRESET, 1)
            container.mux(stream.encode(_picture_of(frame, index, 1 / rate)))
        assert stream is not None, "no frames to encode"
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _stream(
    container: Any, codec: str, size: tuple[int, int], fps: Fraction, time_base: Fraction
) -> Any:
    stream = container.add_stream(codec, rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    stream.time_base = stream.codec_context.time_base = time_base
    tag(stream.codec_context, BT709, size)
    return stream


def hd(width: int, height: int) -> bool:
    """Whether players take an untagged picture of this size for BT.709; below, for BT.601."""
    return width >= 1280 or height > 576


def tag(context: Any, colours: tuple[int, int, int], size: tuple[int, int]) -> Colorspace:
    """Tags an encoder's colours, if they are known ones; the matrix to encode by."""
    primaries, transfer, matrix = colours
    untagged = Colorspace.ITU709 if hd(*size) else Colorspace.ITU601
    found = {**MATRICES, UNTAGGED: untagged}.get(matrix)
    if found is None:
        primaries, transfer, matrix = BT709
        found = Colorspace.ITU709
    context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, matrix
    return found


def _picture_of(
    frame: np.ndarray | Picture, time: int, base: Fraction, matrix: Colorspace = Colorspace.ITU709
) -> av.VideoFrame:
    """A frame of the encoder's kind, with its time in units of ``base``."""
    odd = frame.shape[0] % 2 or frame.shape[1] % 2
    if isinstance(frame, Picture) and frame.matrix == matrix and not odd:
        picture = frame.frame
        picture.pict_type = PictureType.NONE  # else the source's choice of key frames is kept
    else:
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        kind = "yuv444p" if odd else "yuv420p"
        picture = rgb.reformat(format=kind, dst_colorspace=matrix, threads=ALONE)
    picture.pts, picture.time_base = time, base
    return picture
