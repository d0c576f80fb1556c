"""Clips and a system -> edited videos -> rows. Each video is read once for all metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from core.contracts import Predictor
from core.errors import DiskFull, InputError
from core.files import read_json, write_bytes, write_json
from core.media.audio import read_sound
from core.media.video import encode_mp4, probe
from core.sample import SAMPLE_RATE
from core.weights import Store
from evaluation.benchmarks.pairs import Pair, VideoBenchmark
from evaluation.scores import Scores
from evaluation.videos import Reader, VideoCase, VideoMetric, file_sha, together
from inference.footage import Span
from inference.sync import sync

Progress = Callable[[str, int, int], None]
"""(what was done, how many are done, of how many)."""
PLAYER_CRF = 26
KEY = ".made.json"
"""Beside an output: what it was made of; an equal one is not made again."""

log = logging.getLogger(__name__)


def make(
    benchmark: VideoBenchmark,
    pairs: Sequence[Pair],
    predictor: Predictor,
    store: Store,
    folder: Path,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, str]:
    """Edits every pair into ``folder/NAME.mp4``; finished ones are kept.

    Returns:
        pair -> why it could not be edited.
    """
    failures: dict[str, str] = {}
    card = getattr(predictor, "card", None)
    for done, pair in enumerate(pairs, start=1):
        out = folder / f"{pair.name}.mp4"
        sound = _silent(pair, folder) if pair.audio is None else pair.audio
        key = {
            "benchmark": benchmark.id, "source": file_sha(pair.source), "sound": file_sha(sound),
            "checkpoint": None if card is None else [card.uri, card.step, card.recipe_sha],
        }  # fmt: skip
        note = out.with_suffix(KEY)
        try:
            if not (out.is_file() and note.is_file() and read_json(note) == key):
                edit(benchmark, pair, sound, out, predictor, store)
                write_json(note, key)
        except DiskFull:  # every pair would fail
            raise
        except InputError as error:
            failures[pair.name] = str(error)
        progress(pair.name, done, len(pairs))
    return failures


def edit(
    benchmark: VideoBenchmark,
    pair: Pair,
    sound: Path | None,
    out: Path,
    predictor: Predictor,
    store: Store,
) -> int:
    """Edits one pair's source to ``sound``; gives how many frames were written."""
    part = Span(end_s=benchmark.viewing.seconds)
    done = sync(pair.source, sound, out, predictor, store, coding=benchmark.coding, span=part)
    return done.frames


def _silent(pair: Pair, folder: Path) -> Path:
    """A silent sound as long as the pair's source."""
    path = folder / f"{pair.name}.wav"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        count = round(probe(pair.source).duration_s * SAMPLE_RATE)
        soundfile.write(path, np.zeros(count, np.float32), SAMPLE_RATE)
    return path


def measure(
    pairs: Sequence[Pair],
    videos: Path,
    system: str,
    metrics: Sequence[VideoMetric],
    reader: Reader,
    progress: Progress = lambda what, done, total: None,
    players: Path | None = None,
) -> Scores:
    """Measures ``videos/NAME.mp4`` of every pair, whoever made them.

    A video that is missing, unreadable, or of another size or length than its source is a row with
    the reason; so is one that a metric can't measure.

    Args:
        pairs: of the benchmark.
        videos: folder of the edited videos.
        system: who made them.
        metrics: each sees the pairs of its ``kinds``.
        reader: reads videos.
        progress: told after each pair.
        players: folder for ``NAME.mp4`` of source and output side by side; None makes none.
    """
    found: list[Scores] = []
    for pair in chained(pairs):
        found.append(measure_pair(pair, videos, system, metrics, reader, players))
        progress(pair.name, len(found), len(pairs))
    return Scores({m.name: m for m in metrics}).merged(*found)


def chained(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs so ordered that what a reader remembers is used again: those of one source stand
    together, and the source that lends its sound comes next."""
    groups: dict[Path, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.source, []).append(pair)
    found: list[Pair] = []
    while groups:
        source: Path | None = next(iter(groups))
        while source in groups:
            # Those with another's sound last, for that one is read last.
            group = sorted(groups.pop(source), key=lambda p: p.audio_video not in (None, p.source))
            found += group
            source = group[-1].audio_video
    return found


def player(source: np.ndarray, output: np.ndarray, fps: float) -> bytes:
    """An mp4 of crops side by side at half their size, (T,S,S,3) uint8 each."""
    frames = (np.hstack([a[::2, ::2], b[::2, ::2]]) for a, b in zip(source, output, strict=True))
    return encode_mp4(frames, fps, PLAYER_CRF)


def measure_pair(
    pair: Pair,
    videos: Path,
    system: str,
    metrics: Iterable[VideoMetric],
    reader: Reader,
    players: Path | None = None,
) -> Scores:
    """One pair's rows; see ``measure``."""
    named = {m.name: m for m in metrics}
    try:
        case = case_of(pair, videos, system, reader)
    except InputError as error:
        return Scores(named, failures={pair.name: str(error)}, pairs=(pair.name,))
    if players is not None:
        shown = player(case.source.crops, case.output.crops, reader.viewing.fps)
        write_bytes(players / f"{pair.name}.mp4", shown)
    rows, failures = {}, {}
    for name, metric in named.items():
        if pair.kind not in metric.kinds:
            continue
        try:
            row = dict(metric.observe(case))
        except InputError as error:
            failures[f"{pair.name}.{name}"] = str(error)
            continue
        if any(not np.isfinite(v).any() for v in row.values() if v.dtype.kind == "f" and v.size):
            failures[f"{pair.name}.{name}"] = f"{name} gave no finite value for {pair.name}"
            continue
        rows[name, pair.name] = row
    return Scores(named, rows, failures, (pair.name,))


def case_of(pair: Pair, videos: Path, system: str, reader: Reader) -> VideoCase:
    """A pair and its edited video, read.

    Raises:
        InputError: a file is missing or unreadable, or the edited video does not fit its source.
    """
    path = Path(videos) / f"{pair.name}.mp4"
    if not path.is_file():
        raise InputError(f"{path} is missing; make it, or its pair is not measured")
    source = reader.source(pair.source)
    output = reader.output(path, source)
    audio = np.zeros(round(len(source) / source.fps * SAMPLE_RATE), np.float32)
    if pair.audio is not None:
        audio = read_sound(pair.audio, SAMPLE_RATE)
    judge = None if pair.audio_video is None else reader.source(pair.audio_video)
    return together(
        VideoCase(pair.name, system, output, source, audio, judge, pair.kind, pair.category)
    )
