"""RAVDESS: 24 actors speak and sing two sentences in eight emotions.

Source: https://zenodo.org/records/1188976 ("File naming convention"). Licence: CC BY-NC-SA 4.0.
Counts: 24 actors, 7,356 files; of these 4,904 videos: 1,440 spoken and 1,012 sung, each with sound
and once more without. No songs of actor 18.

::

    Actor_12/01-01-06-01-02-01-12.mp4
             modality-channel-emotion-intensity-statement-repetition-actor

Any folders may lie around the files. Never run on the real data: tested on a tree of this layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.clip import Clip, Fact
from preprocessing.listing import matching

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CHANNELS = ("speech", "song")
INTENSITIES = ("normal", "strong")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")


def clips(root: Path) -> Iterator[Clip]:
    """One clip a file: the file's name is the label.

    Facts: speaker, channel, emotion, intensity, text, repetition. A video without sound is
    ``stage1_only``, and rejected when the same take is there with sound.

    Args:
        root: a folder above the videos.

    Raises:
        InputError: no video below ``root``.
    """
    found = matching(root, "**/*.mp4")
    names = {path.stem for path in found}
    for path in found:
        facts = label(path.stem)
        if facts is None:
            yield Clip("", str(path)).rejected("ravdess", "the file's name is no label")
            continue
        clip = Clip("", str(path), facts=facts)
        if path.stem.startswith("01-"):
            yield clip
        elif f"01-{path.stem[3:]}" in names:
            yield clip.rejected("ravdess", "the same take is there with sound")
        else:
            yield clip.noting(stage1_only=True)


def label(stem: str) -> dict[str, Fact] | None:
    """What a file's name says; None when it is not one of RAVDESS' videos."""
    try:
        numbers = [int(part) for part in stem.split("-")]
        modality, channel, emotion, intensity, statement, repetition, actor = numbers
    except ValueError:
        return None
    whole = ((modality, 2), (channel, 2), (emotion, 8), (intensity, 2), (statement, 2), (actor, 24))
    if not all(1 <= number <= last for number, last in whole):
        return None
    return {
        "speaker": f"ravdess_{actor:02d}",
        "channel": CHANNELS[channel - 1],
        "emotion": EMOTIONS[emotion - 1],
        "intensity": INTENSITIES[intensity - 1],
        "text": STATEMENTS[statement - 1],
        "repetition": repetition,
    }
