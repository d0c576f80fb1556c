"""Video encoders by name: x264 and x265, and those of graphics cards where there is one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np

from core.errors import InputError

SWIFT = "swift"
"""x264's veryfast with its shortest search for sub-pixels: .64 of the time for a talking head in
720p, 4 % more bytes, .2 dB less."""
HARDWARE = "hardware"
"""The first encoder of a graphics card that works here, x264 where there is none."""


@dataclass(frozen=True)
class Encoder:
    """How to ask FFmpeg for an encoder.

    Attributes:
        codec: FFmpeg's name.
        options: quality (0 best, 51 worst, as x264's crf), preset and threads -> its options.
        odd: whether it takes odd sizes (as 4:4:4).
        card: whether it is a graphics card's.
        tag: of the stream in mp4, where players want one.
    """

    codec: str
    options: Callable[[int, str, int], dict[str, str]]
    odd: bool = False
    card: bool = False
    tag: str = ""


def _x264(crf: int, preset: str, threads: int) -> dict[str, str]:
    found = {"crf": str(crf), "preset": preset, "threads": str(threads)}
    return found | ({"preset": "veryfast", "subme": "1"} if preset == SWIFT else {})


def _x265(crf: int, preset: str, threads: int) -> dict[str, str]:
    pools = f":pools={threads}:frame-threads=1" if threads else ""
    preset = "superfast" if preset == SWIFT else preset
    return {"crf": str(crf), "preset": preset, "x265-params": f"log-level=error{pools}"}


ENCODERS: Mapping[str, Encoder] = {
    "x264": Encoder("libx264", _x264, odd=True),
    "x265": Encoder("libx265", _x265, odd=True, tag="hvc1"),
    "nvenc": Encoder(
        "h264_nvenc",
        lambda crf, preset, threads: {"preset": "p4", "rc": "vbr", "cq": str(crf), "b": "0"},
        card=True,
    ),
    "videotoolbox": Encoder(
        "h264_videotoolbox",
        # From 1 (worst) to 100 (best).
        lambda crf, preset, threads: {"q:v": str(max(1, 100 - 2 * crf))},
        card=True,
    ),
    "qsv": Encoder(
        "h264_qsv",
        lambda crf, preset, threads: {"global_quality": str(max(1, crf)), "preset": "medium"},
        card=True,
    ),
    "amf": Encoder(
        "h264_amf",
        lambda crf, preset, threads: {"rc": "cqp", "qp_i": str(crf), "qp_p": str(crf)},
        card=True,
    ),
}
PRESETS = (
    SWIFT, "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
    "veryslow",
)  # fmt: skip
"""Of x264 and x265: time against bytes."""


def encoder(name: str, size: tuple[int, int]) -> tuple[str, Encoder]:
    """The encoder that was asked for, tried out, under its name.

    Args:
        name: a key of ``ENCODERS``, or ``hardware``.
        size: (width, height) of the frames.

    Raises:
        InputError: there is none of that name, it does not work here, or takes no such size.
    """
    if name != HARDWARE and name not in ENCODERS:
        raise InputError(f"no encoder {name!r}; use {', '.join([*ENCODERS, HARDWARE])}")
    odd = bool(size[0] % 2 or size[1] % 2)
    if name == HARDWARE:
        cards = [n for n, e in ENCODERS.items() if e.card and not (odd and not e.odd)]
        name = next((n for n in cards if not trouble(ENCODERS[n].codec)), "x264")
    found = ENCODERS[name]
    if odd and not found.odd:
        raise InputError(f"encoder {name} takes no odd size {size[0]} x {size[1]}; use x264")
    reason = trouble(found.codec)
    if reason:
        raise InputError(f"encoder {name} does not work here ({reason}); use x264 or {HARDWARE}")
    return name, found


@functools.cache
def trouble(codec: str) -> str:
    """Why an encoder does not work on this machine, or "". It is tried on one frame."""
    try:
        context = av.CodecContext.create(codec, "w")
        context.width, context.height = 320, 240  # type: ignore[attr-defined]
        context.pix_fmt = "yuv420p"  # type: ignore[attr-defined]
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)  # type: ignore[attr-defined]
        frame = av.VideoFrame.from_ndarray(np.zeros((360, 320), np.uint8), format="yuv420p")
        frame.pts = 0
        context.encode(frame)  # type: ignore[attr-defined]
        context.encode(None)  # type: ignore[attr-defined]
    except (av.error.FFmpegError, ValueError, OSError) as error:
        return str(error).split("] ")[-1] or type(error).__name__
    return ""
