"""What data sets share: finding files, and clips that are annotated spans of YouTube videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from core.clip import Clip
from core.errors import InputError
from core.files import read_json
from preprocessing.datasets.folder import SUFFIXES
from preprocessing.roi import Roi


def matching(root: Path, *patterns: str) -> list[Path]:
    """Files below ``root`` that match any of the patterns, in the order of their paths.

    Raises:
        InputError: there are none.
    """
    globbed = {path for pattern in patterns for path in root.glob(pattern)}
    found = sorted(path for path in globbed if not path.name.startswith("."))
    if not found:
        raise InputError(
            f"no file {' or '.join(patterns)} below {root}; give the data set's top folder"
        )
    return found


def videos(*folders: Path) -> dict[str, Path]:
    """Video files in folders by their stem; an earlier folder wins. Absent folders hold none."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(path.stem, path)
    return found


def youtube(video: str) -> str:
    """The speaker of a YouTube video whose people have no names.

    Every data set that cuts clips from YouTube calls them so, and one video is in one split.
    """
    return f"youtube_{video}"


Entry = Mapping[str, Any]


def annotation(root: Path, name: str) -> Entry:
    """A JSON annotation with the key ``clips``, directly below ``root``.

    Raises:
        InputError: it is not there, or it is another kind of file.
    """
    path = root / name
    if not path.is_file():
        raise InputError(f"no {name} in {root}; download the annotation to there")
    content: Any = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("clips"), dict):
        raise InputError(f"{path} holds no clips; download the annotation again")
    return content


def annotated(
    content: Entry, raw: Path, unit: Literal["fraction", "px"]
) -> Iterator[tuple[Clip, Entry]]:
    """Clips of CelebV's annotations, each with its own entry.

    Args:
        content: from ``annotation``: by clip name ytb_id, duration and bbox.
        raw: folder of the downloaded videos, ``ID.mp4``; what is not there is listed all the same.
        unit: of bbox.

    Raises:
        InputError: an entry lacks something.
    """
    there = videos(raw)
    for name, entry in content["clips"].items():
        try:
            video, box, span = str(entry["ytb_id"]), entry["bbox"], _span(entry["duration"])
            left, top, right, bottom = (float(box[s]) for s in ("left", "top", "right", "bottom"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"clip {name!r} of the annotation lacks ytb_id, duration or bbox ({error}); "
                "download the annotation again"
            ) from error
        roi = str(Roi(left, top, right, bottom, unit))
        facts = {"speaker": youtube(video), "name": name, "roi": roi}
        yield Clip("", str(there.get(video, raw / f"{video}.mp4")), span, facts=facts), entry


def _span(duration: Mapping[str, float]) -> tuple[float, float]:
    # CelebV-Text's documentation shows both spellings; both are seconds.
    key = "sec" if "start_sec" in duration else "frame"
    return float(duration[f"start_{key}"]), float(duration[f"end_{key}"])
