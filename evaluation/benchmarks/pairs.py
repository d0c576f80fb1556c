"""Which videos say what: the pairs of a benchmark, frozen in a manifest with hashes.

A benchmark is one file here and one line in ``BENCHMARKS``. Its version goes up whenever anything
that changes a number does: the pairing, how videos are read (``Viewing``), how outputs are written.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.media.container import opened
from evaluation.videos import Kind, Viewing, file_sha
from inference.job import Coding

KINDS = (".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".avi", ".m4v", ".ts")

BENCHMARKS: Mapping[str, str] = {
    "reconstruction": "evaluation.benchmarks.reconstruction:BENCHMARK",
    "cross_audio": "evaluation.benchmarks.cross_audio:BENCHMARK",
    "silence": "evaluation.benchmarks.silence:BENCHMARK",
    "clips": "evaluation.benchmarks.clips:BENCHMARK",
    "aigc": "evaluation.benchmarks.aigc:BENCHMARK",
    "synthetic": "evaluation.benchmarks.synthetic:BENCHMARK",
}


@dataclass(frozen=True)
class Pair:
    """One video to be made.

    Attributes:
        name: of the output: ``NAME.mp4`` in a folder of videos.
        source: the video to be edited.
        audio: the file whose sound is said; None is silence.
        audio_video: the video that the sound came from, where there is one.
        kind: see ``evaluation.videos.Kind``. category: in benchmarks that have some.
    """

    name: str
    source: Path
    audio: Path | None
    audio_video: Path | None
    kind: Kind
    category: str = ""


@dataclass(frozen=True)
class Heads:
    """Rendered clips that a benchmark is about: one of each person.

    Attributes:
        people: how many. seconds: of each clip. seed: of who they are and what they say.
    """

    people: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class VideoBenchmark:
    """A frozen way to make and to read videos.

    Attributes:
        name, version: its id is ``name@version``.
        pair: (videos in order, folder, random) -> pairs.
        most: how many pairs are drawn of those; None takes all.
        viewing: how videos are read. coding: how ours are written.
        seed: of pairing and drawing.
        heads: whom to render; None where a person brings the clips.
    """

    name: str
    version: int
    pair: Callable[[Sequence[Path], Path, random.Random], list[Pair]]
    most: int | None = None
    viewing: Viewing = field(default_factory=Viewing)
    coding: Coding = field(default_factory=Coding)
    seed: int = 0
    heads: Heads | None = None

    @property
    def id(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    def pairs(self, folder: Path) -> list[Pair]:
        """The pairs of a folder of talking clips, by name.

        Raises:
            InputError: no such folder, or too few clips in it.
        """
        folder = Path(folder)
        videos = [p for p in videos_in(folder) if has_sound(p)]
        if not videos:
            raise InputError(f"{folder} holds no video with sound; name a folder of talking clips")
        rng = random.Random(self.seed)
        pairs = sorted(self.pair(videos, folder, rng), key=lambda p: p.name)
        if self.most is not None and len(pairs) > self.most:
            pairs = sorted(rng.sample(pairs, self.most), key=lambda p: p.name)
        return pairs

    def manifest(self, pairs: Sequence[Pair], folder: Path) -> dict[str, Any]:
        """What was to be made, with hashes of every file; equal manifests are comparable."""
        folder = Path(folder)
        known: dict[Path, str] = {}

        def file(path: Path | None) -> dict[str, str] | None:
            if path is None:
                return None
            if path not in known:
                known[path] = file_sha(path)
            return {"file": path.relative_to(folder).as_posix(), "sha": known[path]}

        rows = [
            {
                "name": p.name, "kind": p.kind, "category": p.category, "source": file(p.source),
                "audio": file(p.audio), "audio_video": file(p.audio_video),
            }
            for p in pairs
        ]  # fmt: skip
        facts: dict[str, Any] = {
            "fps": self.viewing.fps,
            "seconds": self.viewing.seconds,
            "seed": self.seed,
        }
        facts |= {"crop": self.viewing.crop.id, "wide": self.viewing.wide, **asdict(self.coding)}
        found = {"benchmark": self.id, "facts": facts, "pairs": rows}
        digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
        mute = [p.relative_to(folder).as_posix() for p in videos_in(folder) if not has_sound(p)]
        return found | {"hash": digest, "without_sound": mute}


def find(text: str) -> VideoBenchmark:
    """A benchmark by ``name`` or ``name@version``.

    Raises:
        InputError: none of that name, or this release has another version.
    """
    name, _, version = text.partition("@")
    if name not in BENCHMARKS:
        raise InputError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    module, _, attribute = BENCHMARKS[name].partition(":")
    found: VideoBenchmark = getattr(importlib.import_module(module), attribute)
    if version and version != str(found.version):
        raise InputError(
            f"benchmark {text} is not here, {found.id} is: measure all systems with one of them"
        )
    return found


def stem(video: Path, folder: Path) -> str:
    """A clip's name in pairs: its path in the folder, without slashes and suffix."""
    return video.relative_to(folder).with_suffix("").as_posix().replace("/", "__")


def videos_in(folder: Path) -> list[Path]:
    """All video files of a folder and the folders in it, sorted.

    Raises:
        InputError: no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name the folder of talking clips")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in KINDS and p.is_file())


def has_sound(path: Path) -> bool:
    """Whether a file can be read and has sound; what can't be read is met again when it is."""
    try:
        with opened(path) as container:
            return bool(container.streams.audio)
    except InputError:
        return True
