"""Reads a segment: its sound at 16 kHz mono and its frames at 25 fps, both by timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.clip import Clip
from core.errors import InputError
from core.sample import FPS, SAMPLE_RATE
from preprocessing.roi import Roi, given_box
from preprocessing.steps.frames import Frames, Reader

AROUND_S = 6.0
"""Sound kept on either side for the speech encoder; it must exceed the encoder's reach (5.5 s)."""
GRID_S = 1.0
"""Sound around starts on this grid, the speech encoder's own: windows fall as in the whole clip."""


@dataclass(frozen=True)
class Read:
    """Adds frames and sound_around (dict: sound; offset, the segment's first frame within it).

    Frames are cut to the fact ``roi``, sound comes from the fact ``sound_file`` where there is one.
    Silence stands in for sound that is not there or, by the fact ``stage1_only``, not usable; the
    clip then is ``stage1_only``: no stage that listens is trained on it.

    Attributes:
        no_sound: what to do with a clip that has none.
        reader: which library decodes the frames.
        keep_mb: decoded frames of a segment stay in memory up to this size; ten seconds of 720p
            are 700, and decoding them twice would cost a third of the whole chain.
    """

    no_sound: Literal["reject", "silence"] = "reject"
    reader: Reader = "pyav"
    keep_mb: int = 800
    _last: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    name = "read"
    needs = frozenset[str]()
    adds = frozenset({"frames", "sound_around"})

    def setup(self) -> None:
        """Nothing to load."""
        object.__setattr__(self, "_last", {})

    def __call__(self, clips: Sequence[Clip]) -> Iterable[Clip]:
        """Reads; 1:1."""
        for clip in clips:
            if clip.facts.get("stage1_only", False) or clip.facts["has_sound"]:
                yield self._read(clip)
            elif self.no_sound == "silence":
                yield self._read(clip.noting(stage1_only=True))
            else:
                yield clip.rejected(self.name, "no sound")

    def _read(self, clip: Clip) -> Clip:
        assert clip.span_s is not None, "segment comes before read"
        start_s, end_s = clip.span_s
        promised = round((end_s - start_s) * FPS)
        box = given_box(clip)
        frames = Frames(clip.source, clip.span_s, promised, box=box, reader=self.reader)
        width, height = int(clip.facts["width"]), int(clip.facts["height"])
        if box is not None:
            width, height = box[2] - box[0], box[3] - box[1]
            clip = clip.noting(roi=str(Roi(*box)))
        megabytes = promised * width * height * 3 / 1e6
        if megabytes <= self.keep_mb:
            frames = replace(frames, kept=tuple(frames))
        whole = self._sound(clip)
        offset_s = max(0.0, GRID_S * math.floor((start_s - AROUND_S) / GRID_S))
        around = whole[_at(offset_s) : _at(end_s + AROUND_S)]
        offset = round((start_s - offset_s) * FPS)
        return clip.having(frames=frames, sound_around={"sound": around, "offset": offset})

    def _sound(self, clip: Clip) -> Any:
        """The whole sound, to be cut; segments of one file come in a row, so one is kept."""
        from core.media.audio import SpooledSound, sound_blocks

        if clip.facts.get("stage1_only", False):
            return np.zeros(_at(float(clip.facts["duration_s"])), np.float32)
        source = str(clip.facts.get("sound_file", clip.source))
        if self._last.get("source") != source:
            sound = SpooledSound(sound_blocks(Path(source), SAMPLE_RATE))
            self._last.update(source=source, sound=sound)
        found = self._last["sound"]
        if not len(found):
            raise InputError(f"{source}: its sound stream is empty; record it again")
        return found


def _at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
