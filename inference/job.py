"""What was asked of ``sync``, checked before any work starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.media.audio import SpooledSound, sound_blocks
from core.media.video import Image, VideoInfo, probe
from core.sample import SAMPLE_RATE
from inference.engine import Clock
from inference.footage import Footage, Span, footage_of

Progress = Callable[[str, int, int | None], None]
"""(part: "track" or "edit", frames done, frames in all when known)."""


@dataclass(frozen=True)
class Job:
    """What was asked for, checked.

    Attributes:
        info: of the video. audio, out: paths.
        sound: of AUDIO, 16 kHz, on disk.
        crf: x264's quality. seed: of everything drawn by chance.
        footage: VIDEO's frames as OUT shows them.
        beside: whether OUT shows them beside the edited ones.
        progress: told how far it is.
    """

    info: VideoInfo
    audio: Path
    out: Path
    sound: SpooledSound
    crf: int
    seed: int
    progress: Progress
    footage: Footage
    beside: bool = False

    @property
    def video(self) -> Path:
        """Path of the video."""
        return self.info.path

    def frames(self, clock: Clock) -> Iterator[tuple[float, Image]]:
        """The frames with their times in OUT; decoding goes to the clock's account."""
        return clock.timed("decode", self.footage)


def check_job(
    video: Path,
    audio: Path,
    out: Path,
    crf: int,
    seed: int,
    progress: Progress | None,
    span: Span | None = None,
) -> Job:
    """The job, once everything that can be found wrong before the work starts was found right.

    Args:
        video: path of the video.
        audio: path of the sound.
        out: path of the mp4 to write.
        crf: x264's quality.
        seed: of everything drawn by chance.
        progress: told how far it is, or None.
        span: which part of VIDEO, and how long OUT is; None is all of it.

    Raises:
        InputError: something can't be used.
    """
    video, audio, out = Path(video), Path(audio), Path(out)
    if out.suffix.lower() != ".mp4":
        raise InputError(f"{out} must end in .mp4: that is what is written; rename the output")
    for given in (video, audio):
        if given.resolve() == out.resolve():
            raise InputError(
                f"{out} is also an input and would be overwritten; name another output"
            )
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file in it")
    if not 0 <= crf <= 51:
        raise InputError(f"crf {crf} is not between 0 (lossless) and 51 (worst); 18 looks lossless")
    info = probe(video)
    sound = SpooledSound(sound_blocks(audio, SAMPLE_RATE))
    span = span or Span()
    footage = footage_of(info, span, len(sound) / SAMPLE_RATE)
    _writable(out)
    told = progress or (lambda part, done, total: None)
    return Job(info, audio, out, sound, crf, seed, told, footage, span.preview)


def _writable(out: Path) -> None:
    """Raises now what would otherwise be found out after the first pass."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise InputError(
            f"can't write {out}: {error.strerror or error}; choose a folder you may write to"
        ) from error
