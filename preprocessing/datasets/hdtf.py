"""HDTF: high definition talking faces, political addresses from YouTube.

Source: https://github.com/MRzzm/HDTF (README, "Details of HDTF dataset" and "Processing"), CVPR
2021. Licence: CC BY 4.0 for the annotation; the videos belong to their owners. Counts, of the
annotation: 369 videos with 436 spans (17.1 hours), 421 of them with a crop; the paper says 15.8
hours.

::

    RD_annotion_time.txt     Radio11.mp4 00:30-01:00 01:30-02:30
    RD_crop_wh.txt           Radio11_0.mp4 412 599 0 599          x, width, y, height in pixels
    RD_resolution.txt        Radio11.mp4 720                      height those pixels belong to
    RD_crop_ratio.txt        Radio11_0.mp4 1.2
    _videos_raw/RD_Radio11.mp4                                    or videos/, or Radio11.mp4

likewise WDA and WRA; the text files lie in ``root`` or in HDTF_dataset below it. Both of the
authors' cropping methods: a video of the annotated resolution is cut to its window (crop_wh), one
of another resolution to a window found from the face (crop_ratio;
``preprocessing.steps.window``), and so are five clips whose resolution was noted as 0 or as less
than their window needs. Spans without a crop are listed as rejected: the authors left them out too.

The speaker is the video's name without the number at its end. The Radio videos are not named by
person, so each is taken to be one: somebody with two of them may be in two splits.

Run on the real annotation, never on the real videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from core.clip import Clip, Fact
from core.errors import InputError
from preprocessing.listing import videos
from preprocessing.roi import OVER, Roi

PARTS = ("RD", "WDA", "WRA")
RAW = "_videos_raw"
"""Where the download script that HDTF's README names puts whole videos."""


def clips(root: Path) -> Iterator[Clip]:
    """One clip a span, on disk or not.

    Facts: speaker, name (of the clip), part, roi, crop_ratio.

    Args:
        root: the folder that holds the annotation, or HDTF_dataset with it, and the videos.

    Raises:
        InputError: no annotation, or a line of it can't be read.
    """
    folder = root / "HDTF_dataset" if (root / "HDTF_dataset").is_dir() else root
    there = videos(root / RAW, root / "videos", root)
    for part in PARTS:
        for clip in _spans(folder, part):
            video = clip.source
            path = there.get(f"{part}_{video}") or there.get(video)
            yield replace(clip, source=str(path or root / RAW / f"{part}_{video}.mp4"))


def _spans(folder: Path, part: str) -> Iterator[Clip]:
    """Clips of one part of the annotation; their source is the video's name alone."""
    times, windows, ratios, heights = (
        _table(folder / f"{part}_{kind}.txt")
        for kind in ("annotion_time", "crop_wh", "crop_ratio", "resolution")
    )
    for video, texts in times.items():
        height = heights.get(video, ["0"])[0]
        for index, text in enumerate(texts):
            name = f"{video}_{index}"
            clip = Clip("", video, _span(text, name))
            clip = clip.noting(speaker=speaker(part, video), name=name, part=part)
            if name in windows:
                yield clip.noting(**_crop(name, windows[name], height, ratios.get(name, ())))
            else:
                yield clip.rejected("hdtf", "no crop in the annotation")


def speaker(part: str, video: str) -> str:
    """Who speaks in a video, by its name."""
    return f"hdtf_{video if part == 'RD' else re.sub(r'[0-9]+$', '', video)}"


def _table(path: Path) -> dict[str, list[str]]:
    """Lines of names and values, by name without .mp4. One of the files has a byte order mark."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"can't read {path} ({error}); download HDTF's annotation again"
        ) from error
    rows = (line.split() for line in lines if line.strip())
    return {name.removesuffix(".mp4"): values for name, *values in rows}


def _span(text: str, name: str) -> tuple[float, float]:
    """Seconds of ``MM:SS-MM:SS``, hours allowed."""
    start, end = (_seconds(time) for time in (*text.split("-"), "", "")[:2])
    if start is None or end is None or end <= start:
        raise InputError(
            f"HDTF: the span {text!r} of {name} is no MM:SS-MM:SS; download the annotation again"
        )
    return start, end


def _seconds(time: str) -> float | None:
    if not re.fullmatch(r"([0-9]+:)?[0-9]+:[0-9]+", time):
        return None
    total = 0
    for number in time.split(":"):
        total = 60 * total + int(number)
    return float(total)


def _crop(name: str, window: Sequence[str], height: str, ratio: Sequence[str]) -> dict[str, Fact]:
    try:
        x, width, y, tall = (int(number) for number in window)
        facts: dict[str, Fact] = {"crop_ratio": float(ratio[0])} if ratio else {}
        if y + tall <= OVER * int(height):  # else that resolution can't be the window's
            facts["roi"] = str(Roi(x, y, x + width, y + tall, "px", int(height)))
    except ValueError as error:
        raise InputError(
            f"HDTF: the crop of {name} can't be read ({error}); download the annotation again"
        ) from error
    return facts
