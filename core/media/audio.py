"""Sound: reading any container as mono, FLAC in memory, and where it is silent."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import soundfile

from core.errors import InputError
from core.media.container import opened

QUIET_DB = -55.0
"""Below this level, relative to full scale, nothing counts as speech."""
LATEST_S = 600.0
"""Sound and picture further apart than this are no recording but a damaged clock."""
BLOCK = 1500
"""Frames whose level is measured at once."""
SHORTEST_PAUSE_S = 0.16
"""Closures of plosives are shorter; they are no silence."""


def read_sound(path: Path, rate: int = 16_000) -> np.ndarray:
    """The sound of a media file, mixed to mono.

    When the file has a picture, sample 0 is the moment of its first frame: what comes earlier is
    cut, a late start is filled with silence.

    Args:
        path: of the file.
        rate: samples a second.

    Returns:
        (N,) float32 in [-1, 1].

    Raises:
        InputError: unreadable, or without any sound.
    """
    return SpooledSound(sound_blocks(path, rate))[:]  # a list of blocks would be a second copy


def sound_blocks(path: Path, rate: int = 16_000) -> Iterator[np.ndarray]:
    """``read_sound`` in pieces, for sound that is longer than memory is large.

    Yields:
        (n,) float32 in [-1, 1]; joined they are the whole sound.

    Raises:
        InputError: as ``read_sound``; or sound and picture are minutes apart.
    """
    with opened(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path} has no sound track; give a file with sound")
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        heard = skip = 0
        for index, frame in enumerate(itertools.chain(container.decode(audio=0), [None])):
            if index == 0 and frame is not None:
                shift = round(late(container, frame.time) * rate)
                if abs(shift) > LATEST_S * rate:
                    raise InputError(
                        f"{path}: its sound starts {shift / rate:.0f} s after its picture, the "
                        "clocks are damaged; give another copy"
                    )
                skip = max(0, -shift)
                yield np.zeros(max(0, shift), np.float32)
            for block in resampler.resample(frame):
                piece = block.to_ndarray().ravel()
                heard += len(piece)
                cut, skip = piece[skip:], max(0, skip - len(piece))
                yield np.clip(cut, -1, 1).astype(np.float32)
    if not heard:
        raise InputError(f"{path} has an empty sound track; give a file with sound")


class Sound(Protocol):
    """Mono sound that is cut in stretches: an array, or what lies on disk."""

    def __len__(self) -> int:
        """How many samples."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """A stretch of them, (n,) float32 in [-1, 1]."""


class Fitted:
    """A sound cut, or followed by silence, to a length.

    Args:
        sound: any sound. length: samples.
    """

    def __init__(self, sound: Sound, length: int) -> None:
        self._sound, self._length = sound, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> np.ndarray:
        """A stretch of it, (n,) float32."""
        start, stop, step = part.indices(self._length)
        assert step == 1, "sound is cut in stretches"
        heard = self._sound[start:stop]
        return np.pad(heard, (0, max(0, stop - start) - len(heard)))


class SpooledSound:
    """Sound in an unnamed file on disk, cut like an array: an hour of it is 230 MB.

    Args:
        blocks: (n,) float32 each.
    """

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as this value
        self._count = 0
        for block in blocks:
            self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
            self._count += len(block)
        self._file.flush()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> np.ndarray:
        """A stretch of it, (n,) float32."""
        start, stop, step = part.indices(self._count)
        assert step == 1, "sound is cut in stretches"
        data = os.pread(self._file.fileno(), 4 * max(0, stop - start), 4 * start)
        return np.frombuffer(data, np.float32)


def late(container: Any, first: float | None) -> float:
    """Seconds from the first frame's moment to the first sample's."""
    for stream in container.streams.video:
        if stream.start_time is not None and stream.time_base is not None and first is not None:
            return float(first - float(stream.start_time * stream.time_base))
    return 0.0


def encode_flac(sound: np.ndarray, rate: int = 16_000) -> bytes:
    """Mono float32 sound in [-1, 1] as 16-bit FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(sound, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[np.ndarray, int]:
    """The inverse of ``encode_flac``: (N,) float32 and its rate.

    Raises:
        InputError: the bytes are no readable sound.
    """
    try:
        sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise InputError("a shard's sound can't be decoded; preprocess it again") from error
    return sound, int(rate)


def silence(sound: Sound, rate: int, fps: float, frames: int) -> np.ndarray:
    """Which video frames are silent, by level, adapted to the recording's own noise and speech.

    A frame becomes speech above 40 % of the way (in dB) from noise floor to loud speech and stays
    so down to 25 %; pauses shorter than ``SHORTEST_PAUSE_S`` are speech too.

    Args:
        sound: what lies behind its end is silent.
        rate: its samples a second.
        fps: frames a second.
        frames: T.

    Returns:
        (T,) bool, True where nobody speaks.
    """
    level = _levels(sound, rate, fps, frames)
    heard = level[level > QUIET_DB]
    if not len(heard):
        return np.ones(frames, dtype=bool)
    loud = float(np.percentile(heard, 95))
    floor = min(max(float(np.percentile(level, 5)), QUIET_DB), loud - 24.0)
    rise, fall = floor + 0.4 * (loud - floor), floor + 0.25 * (loud - floor)
    speech = np.zeros(frames, dtype=bool)
    on = False
    for index, value in enumerate(level):
        on = value > (fall if on else rise) and value > QUIET_DB
        speech[index] = on
    return _without_short(~speech, max(1, round(SHORTEST_PAUSE_S * fps)))


def _levels(sound: Sound, rate: int, fps: float, frames: int) -> np.ndarray:
    """Level of each frame in dB of full scale, (T,)."""
    edges = np.round(np.arange(frames + 1) * rate / fps).astype(int)
    power = np.zeros(frames)
    for first in range(0, frames, BLOCK):
        at = edges[first : first + BLOCK + 1]
        heard = sound[int(at[0]) : int(at[-1])].astype(np.float64) ** 2
        heard = np.pad(heard, (0, int(at[-1] - at[0]) - len(heard)))
        total = np.concatenate([[0.0], np.cumsum(heard)])
        power[first : first + BLOCK] = np.diff(total[at - at[0]]) / np.maximum(np.diff(at), 1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def _without_short(silent: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of True shorter than ``shortest`` set to False, except at the two ends."""
    out = silent.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(int)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < shortest and start > 0 and end < len(silent):
            out[start:end] = False
    return out
