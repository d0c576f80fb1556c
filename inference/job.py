"""What was asked of ``sync``, checked before any work starts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.media.audio import SpooledSound, sound_blocks
from core.media.encoders import PRESETS, SWIFT, encoder
from core.media.video import Image, VideoInfo, probe
from core.sample import SAMPLE_RATE
from inference.engine import Clock
from inference.footage import Footage, Span, footage_of

Progress = Callable[[str, int, int | None], None]
"""(part: "track" or "edit", frames done, frames in all when known)."""


@dataclass(frozen=True)
class Coding:
    """How OUT is encoded.

    Attributes:
        crf: quality, 0 (lossless) to 51 (worst), as x264 counts.
        encoder: a name of ``core.media.encoders``. preset: of x264 and x265.
    """

    crf: int = 18
    encoder: str = "x264"
    preset: str = SWIFT

    def check(self, size: tuple[int, int]) -> None:
        """Raises InputError where it can't be done for frames of (width, height)."""
        if not 0 <= self.crf <= 51:
            raise InputError(
                f"crf {self.crf} is not between 0 (lossless) and 51 (worst); 18 looks lossless"
            )
        if self.preset not in PRESETS:
            raise InputError(f"no preset {self.preset!r}; use one of {', '.join(PRESETS)}")
        encoder(self.encoder, size)


@dataclass(frozen=True)
class Voice:
    """A sound, and whose mouth says it.

    Attributes:
        face: ``largest``, ``left``, ``right``, a number, or a picture of the person.
        audio: path. sound: its samples, 16 kHz, on disk.
    """

    face: str
    audio: Path
    sound: SpooledSound


@dataclass(frozen=True)
class Job:
    """What was asked for, checked.

    Attributes:
        info: of the video. out: path.
        audio: what is heard: one file, or several at once.
        voices: who is edited, and what they say.
        coding: how OUT is encoded. seed: of everything drawn by chance.
        footage: VIDEO's frames as OUT shows them.
        beside: whether OUT shows them beside the edited ones.
        progress: told how far it is.
    """

    info: VideoInfo
    out: Path
    audio: tuple[Path, ...]
    voices: tuple[Voice, ...]
    coding: Coding
    seed: int
    progress: Progress
    footage: Footage
    beside: bool = False

    @property
    def video(self) -> Path:
        """Path of the video."""
        return self.info.path

    @property
    def sound_s(self) -> float:
        """Length of the longest voice."""
        return max(len(voice.sound) for voice in self.voices) / SAMPLE_RATE

    def frames(self, clock: Clock) -> Iterator[tuple[float, Image]]:
        """The frames with their times in OUT; decoding goes to the clock's account."""
        return clock.timed("decode", self.footage)


def check_job(
    video: Path,
    audio: Path | None,
    out: Path,
    coding: Coding,
    seed: int,
    progress: Progress | None,
    span: Span | None = None,
    voices: Sequence[tuple[str, Path | None]] = (("largest", None),),
) -> Job:
    """The job, once everything that can be found wrong before the work starts was found right.

    Args:
        video: path of the video.
        audio: path of the sound that is heard; None where each voice has its own: then it is all
            of them at once.
        out: path of the mp4 to write.
        coding: how it is encoded.
        seed: of everything drawn by chance.
        progress: told how far it is, or None.
        span: which part of VIDEO, and how long OUT is; None is all of it.
        voices: (face, the sound it says, or None for ``audio``).

    Raises:
        InputError: something can't be used.
    """
    video, out = Path(video), Path(out)
    said = [(face, audio if own is None else own) for face, own in voices]
    spoken = [(face, Path(path)) for face, path in said if path is not None]
    if len(spoken) < len(said) or not spoken:
        raise InputError("no sound was given; name AUDIO, or one for each face: --face 0=a.wav")
    heard = [Path(audio)] if audio is not None else [path for _, path in spoken]
    _outputs(out, [video, *heard, *(path for _, path in spoken)])
    info = probe(video)
    coding.check((info.width, info.height))
    sounds = {path: SpooledSound(sound_blocks(path, SAMPLE_RATE)) for _, path in spoken}
    for path in heard:
        sounds.setdefault(path, SpooledSound(sound_blocks(path, SAMPLE_RATE)))
    span = span or Span()
    length_s = max(len(sounds[path]) for path in heard) / SAMPLE_RATE
    footage = footage_of(info, span, length_s)
    _writable(out)
    told = progress or (lambda part, done, total: None)
    speakers = tuple(Voice(face, path, sounds[path]) for face, path in spoken)
    return Job(info, out, tuple(heard), speakers, coding, seed, told, footage, span.preview)


def _outputs(out: Path, inputs: Sequence[Path]) -> None:
    """Raises where OUT can't be what is written, or is an input."""
    if out.suffix.lower() != ".mp4":
        raise InputError(f"{out} must end in .mp4: that is what is written; rename the output")
    if any(given.resolve() == out.resolve() for given in inputs):
        raise InputError(f"{out} is also an input and would be overwritten; name another output")
    if out.is_dir():
        raise InputError(f"{out} is a folder; name a file in it")


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
