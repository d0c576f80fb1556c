"""Writes the kinds of files that people really have: each function writes one, with a sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MPEG = {"vcodec": "mpeg2video", "acodec": "mp2", "rate": 48_000}
WEBM = {"vcodec": "libvpx", "acodec": "libopus", "rate": 48_000}


def pattern(index: int, size: tuple[int, int]) -> np.ndarray:
    """A smooth picture (H, W, 3) uint8 that moves and brightens with its index."""
    x, y = np.linspace(0, 200, size[0]), np.linspace(0, 200, size[1])
    grid = np.stack(np.broadcast_arrays(x[None], y[:, None], np.full((1, 1), index % 200)), -1)
    return np.roll(grid.astype(np.uint8), 2 * index, axis=1)


def write(
    path: Path,
    times_s: Sequence[float],
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    sound: bool = True,
    vcodec: str = "libx264",
    acodec: str = "aac",
    rate: int = 16_000,
    fps: Fraction = Fraction(25),
    draw: Callable[[int, tuple[int, int]], np.ndarray] = pattern,
    keys: int | None = None,
    live: bool = False,
) -> Path:
    """A video whose frames are shown at ``times_s``; no times give sound alone (one second).

    ``keys`` is the number of frames from one key frame to the next, by default the codec's own.
    ``live`` is for webm as browsers record it: the header is written before the length is known.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"live": "1"} if live else {}) as out:
        video = out.add_stream(vcodec, rate=fps) if len(times_s) else None
        heard = out.add_stream(acodec, rate=rate, layout="mono") if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            coarse = vcodec == "mpeg2video" or path.suffix == ".avi"  # they count frames
            clock = 1 / fps if coarse else Fraction(1, 12_000)
            video.time_base = video.codec_context.time_base = clock
            if vcodec == "libx264":
                video.options = {"preset": "ultrafast", "threads": "1"}
            if keys is not None:
                video.codec_context.gop_size = keys
            for i, time_s in enumerate(times_s):
                frame = av.VideoFrame.from_ndarray(draw(i, size), format="rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = round(time_s / clock), clock
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
        if heard is not None:
            length = (times_s[-1] + 1 / float(fps)) if len(times_s) else 1.0
            tone = np.sin(np.arange(int(length * rate)) * 0.1).astype(np.float32)[None]
            for start in range(0, tone.shape[1] - 1151, 1152):
                block = np.ascontiguousarray(tone[:, start : start + 1152])
                if acodec == "mp2":
                    block = (block * 20_000).astype(np.int16)
                kind = "s16" if acodec == "mp2" else "fltp"
                frame = av.AudioFrame.from_ndarray(block, format=kind, layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                out.mux(heard.encode(frame))
            out.mux(heard.encode(None))
    return path


def even(seconds: float, fps: float = 25) -> list[float]:
    """Times of a constant rate."""
    return [i / fps for i in range(round(seconds * fps))]


def uneven(seconds: float) -> list[float]:
    """Times of a variable rate: phones drop to a third in the dark."""
    third = seconds / 3
    slow = [third + i * 0.12 for i in range(int(third / 0.12))]
    return sorted([t for t in even(seconds, 30) if not third <= t < 2 * third - 0.01] + slow)


def turned(path: Path, height: int = 48) -> Path:
    """Sets a file's rotation to 90 degrees, as a phone held upright does; ``height`` of its frames.

    A point x, y of the frames is shown at ``height - y, x``.
    """
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    for place, value in enumerate([0, one, 0, -one, 0, 0, height * one, 0, 1 << 30]):
        data[matrix + 4 * place : matrix + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "sound only.mp4": lambda p: write(p, []),
    "picture only.mp4": lambda p: write(p, even(1.2), sound=False),
    "ten bit.mp4": lambda p: write(p, even(1.2), pix_fmt="yuv420p10le"),
    "turned.mp4": lambda p: turned(write(p, even(1.2), (80, 48))),
    "1 fps.mp4": lambda p: write(p, even(4, 1), fps=Fraction(1)),
    "240 fps.mp4": lambda p: write(p, even(1.2, 240), fps=Fraction(240)),
    "variable.mp4": lambda p: write(p, uneven(3.0), fps=Fraction(30)),
    "variable.mkv": lambda p: write(p, uneven(2.4), fps=Fraction(30)),
    "4K.mp4": lambda p: write(p, even(1.2, 5), (3840, 2160), fps=Fraction(5)),
    "0.2 s.mp4": lambda p: write(p, even(0.2)),
    "old.mpg": lambda p: write(p, even(1.2), (64, 48), **MPEG),
    "stream.ts": lambda p: write(p, even(1.4)),
}
