"""Tracks beside the picture: packets copied as they are where mp4 holds them, else AAC.

Time 0 of a track is the moment of its file's first frame, or its own beginning where the file has
no picture, as in ``core.media.audio``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from core.errors import InputError
from core.media.audio import late
from core.media.container import opened

COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "mov_text")
"""Codecs that mp4 players take as they are."""
NEAR_S = 0.01
"""A copied track starts at a packet; further off than this it is encoded instead."""
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
LAYOUTS = {1: ("mono", 96_000), 2: ("stereo", 160_000), 6: ("5.1", 384_000)}
"""By channels: layouts that are kept, AAC's bits a second at 44.1 kHz; others become stereo."""


class Track(Protocol):
    """What ``VideoWriter`` writes beside the picture."""

    def attach(self, container: Any) -> None:
        """Adds its stream to an mp4 that is being written."""

    def upto(self, time_s: float) -> Iterator[Any]:
        """Its packets from where it was up to a moment, seconds."""

    def close(self) -> Iterator[Any]:
        """Lets its file go; packets that were still held back."""


class Copied:
    """One stream of a file, packet by packet.

    Args:
        path: of the file. index: of the stream in it.
        start_s: moment of the file that is OUT's beginning.
    """

    def __init__(self, path: Path, index: int, start_s: float = 0.0) -> None:
        self._path, self._index, self._start_s = path, index, start_s
        self._stack, self._next = ExitStack(), None

    def attach(self, container: Any) -> None:
        """See ``Track``."""
        source = self._stack.enter_context(opened(self._path))
        stream = source.streams[self._index]
        self._stream = container.add_stream_from_template(stream)
        self._stream.metadata.update(stream.metadata)
        zero = origin(source, stream) + Fraction(self._start_s).limit_denominator(90_000)
        base = stream.time_base or Fraction(1, 90_000)
        self._packets = self._shifted(source.demux(stream), zero, base)

    def _shifted(self, packets: Any, zero: Fraction, base: Fraction) -> Iterator[Any]:
        shift = round(zero / base)
        for packet in packets:
            if packet.dts is None or packet.size == 0:
                continue
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            if self._start_s and packet.pts < 0:
                continue
            packet.stream = self._stream
            yield packet

    def upto(self, time_s: float) -> Iterator[Any]:
        """See ``Track``."""
        while True:
            self._next = self._next or next(self._packets, None)
            if self._next is None or float(self._next.pts * self._next.time_base) >= time_s:
                return
            packet, self._next = self._next, None
            yield packet

    def close(self) -> Iterator[Any]:
        """See ``Track``."""
        self._stack.close()
        return iter(())


class Encoded:
    """The first sound of a file, or of several at once, as AAC, with channels and rate AAC has.

    Behind its end it is silent: it is always as long as it is asked for.

    Args:
        paths: of the files; of several, the first says channels and rate.
        start_s: moment of the files that is OUT's beginning.
    """

    def __init__(self, *paths: Path, start_s: float = 0.0) -> None:
        self._paths, self._start_s = paths, start_s
        self._stack, self._done = ExitStack(), 0

    def attach(self, container: Any) -> None:
        """See ``Track``."""
        sources = [self._stack.enter_context(opened(path)) for path in self._paths]
        stream = sources[0].streams.audio[0]
        self._rate = stream.rate if stream.rate in AAC_RATES else 48_000
        channels = stream.layout.nb_channels  # some files number them and name no layout
        self._layout, bits = LAYOUTS.get(channels, LAYOUTS[2])
        self._stream = container.add_stream("aac", rate=self._rate, layout=self._layout)
        self._stream.bit_rate = bits // (2 if self._rate <= 24_000 else 1)
        self._channels = len(self._stream.layout.channels)
        self._voices = [_Blocks(self._heard(source), self._channels) for source in sources]

    def _heard(self, source: Any) -> Iterator[np.ndarray]:
        """(channels, n) float32 from OUT's beginning on."""
        resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
        skip = 0
        for index, frame in enumerate(itertools.chain(source.decode(audio=0), [None])):
            if index == 0 and frame is not None:
                shift = round((late(source, frame.time) - self._start_s) * self._rate)
                skip = max(0, -shift)
                yield np.zeros((self._channels, max(0, shift)), np.float32)
            for block in resampler.resample(frame):
                piece = block.to_ndarray()
                cut, skip = piece[:, skip:], max(0, skip - piece.shape[1])
                yield cut

    def upto(self, time_s: float) -> Iterator[Any]:
        """See ``Track``."""
        wanted = round(time_s * self._rate) - self._done
        if wanted > 0:
            piece = sum(voice.take(wanted) for voice in self._voices)
            piece = np.clip(piece, -1, 1) if len(self._voices) > 1 else piece
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece), format="fltp", layout=self._layout
            )
            frame.sample_rate, frame.pts = self._rate, self._done
            frame.time_base = Fraction(1, self._rate)
            self._done += wanted
            yield from self._stream.encode(frame)

    def close(self) -> Iterator[Any]:
        """See ``Track``."""
        self._stack.close()
        return iter(self._stream.encode(None))


class _Blocks:
    """Sound that comes in blocks, taken in other lengths; silent behind its end."""

    def __init__(self, blocks: Iterator[np.ndarray], channels: int) -> None:
        self._blocks, self._rest = blocks, np.zeros((channels, 0), np.float32)

    def take(self, count: int) -> np.ndarray:
        """The next samples, (channels, count) float32."""
        while self._rest.shape[1] < count:
            missing = count - self._rest.shape[1]
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((len(self._rest), missing), np.float32)
            self._rest = np.concatenate([self._rest, block], 1)
        piece, self._rest = self._rest[:, :count], self._rest[:, count:]
        return piece


def origin(source: Any, stream: Any) -> Fraction:
    """Time 0 of a stream, seconds on its file's clock."""
    first = source.streams.video[0] if source.streams.video else stream
    return Fraction(first.start_time or 0) * (first.time_base or Fraction(1))


def codec(stream: Any) -> str:
    """Name of a stream's codec, whichever decoder reads it; its type where it has none."""
    context = stream.codec_context
    return str(context.codec.canonical_name if context is not None else stream.type)


def sound_of(path: Path, *others: Path, start_s: float = 0.0) -> Track:
    """A file's first sound: copied where mp4 holds its codec and it starts with the picture.

    With ``others`` it is the sum of all of them, encoded.

    Raises:
        InputError: a file has no sound, or can't be read.
    """
    if others:
        return Encoded(path, *others, start_s=start_s)
    with opened(path) as source:
        if not source.streams.audio:
            raise InputError(f"{path} has no sound track; give a file with sound")
        stream = source.streams.audio[0]
        starts = Fraction(stream.start_time or 0) * (stream.time_base or Fraction(1))
        near = abs(float(starts - origin(source, stream))) <= NEAR_S and not start_s
        fits = codec(stream) in COPIED
        return Copied(path, stream.index) if near and fits else Encoded(path, start_s=start_s)


def others_of(path: Path, start_s: float = 0.0) -> tuple[list[Track], list[str]]:
    """A video's further tracks, all but picture and first sound; and the names of those left out.

    Raises:
        InputError: the file can't be read.
    """
    kept: list[Track] = []
    left: list[str] = []
    with opened(path) as source:
        first = {s.index for s in (*source.streams.video[:1], *source.streams.audio[:1])}
        for stream in source.streams:
            if stream.index in first:
                continue
            name = codec(stream)
            if stream.type in ("audio", "subtitle") and name in COPIED:
                kept.append(Copied(path, stream.index, start_s))
            else:
                left.append(f"{stream.type} track ({name})")
    return kept, left
