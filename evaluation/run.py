"""From shards and renderers to a report: what ``flashlips evaluate`` and the flow call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from core.contracts import Metric
from core.errors import InputError
from core.media.video import encode_mp4
from core.sample import FPS
from core.shards import Shards, spoken
from evaluation import pictures, tables
from evaluation.baselines import Renderer
from evaluation.benchmarks.held_out import Benchmark
from evaluation.clip_data import ClipData, read_clips
from evaluation.metrics import standard
from evaluation.observer import Observer
from evaluation.report import Report
from evaluation.runner import Progress, Results, evaluate

PLAYER_CRF = 24
PLAYER_FRAMES = 250


@dataclass(frozen=True)
class Options:
    """What is measured, and how much of it is shown.

    Attributes:
        corpus: name of the median over clips in report keys.
        select: looks at a sample's ``info`` and says whether its clip is measured.
        seconds: at most this much held-out time a clip; all when None.
        most_clips: at most this many clips; all when None.
        shown: clips that get pictures, curves and a player.
        draws: bootstrap draws of the tables' intervals.
        benchmark: which cases are made.
    """

    corpus: str = "all"
    select: Callable[[Mapping[str, Any]], bool] = lambda info: True
    seconds: float | None = None
    most_clips: int | None = None
    shown: int = 4
    draws: int = 300
    benchmark: Benchmark = field(default_factory=Benchmark)


@dataclass(frozen=True)
class Shown:
    """What a report shows of a clip: frames and openings by system."""

    name: str
    truth: np.ndarray
    outputs: Mapping[str, np.ndarray]
    asked: np.ndarray
    measured: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Measured:
    """All that was measured.

    Attributes:
        results: rows of every clip and system; makes paired differences.
        values: numbers by ``<clip>.<system>.<number>``, and their medians under the corpus's name.
        intervals: of each clip's numbers, by the same keys.
        clips: names, in the order of the shards.
        systems: names in the order of the tables: systems, then baselines.
        shown: for pictures.
        benchmark: name@version.
        corpus: name of the medians.
    """

    results: Results
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    clips: tuple[str, ...]
    systems: tuple[str, ...]
    shown: tuple[Shown, ...]
    benchmark: str
    corpus: str

    def across(self, system: str, number: str) -> dict[str, float]:
        """One number of one system by clip; what gates over clips are made of."""
        return {
            clip: self.values[f"{clip}.{system}.{number}"]
            for clip in self.clips
            if f"{clip}.{system}.{number}" in self.values
        }


def _measure_clip(
    clip: ClipData, renderers: Mapping[str, Renderer], metrics: Sequence[Metric], options: Options
) -> tuple[Results, Shown]:
    cases = list(options.benchmark.cases(clip, renderers))
    results = evaluate(cases, metrics)
    measured: dict[str, np.ndarray] = {}
    for case in cases:
        row = next(iter(results.of(clip.name, case.system, "opening").values()))
        measured[case.system] = row["measured"]
    outputs = {case.system: case.output for case in cases}
    return results, Shown(clip.name, clip.truth, outputs, clip.truth_opening, measured)


def measure(
    shards: Shards,
    renderers: Mapping[str, Renderer],
    observer: Observer,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measures systems and baselines on the held-out time of the clips in ``shards``.

    Args:
        shards: finished folder of shards.
        renderers: by system's name, a function from ``ClipData`` to crops of its held-out frames.
        observer: measures landmarks of truth and outputs.
        options: see ``Options``.
        progress: told after each clip.

    Raises:
        InputError: no clip was selected or long enough, or a renderer gave the wrong frames.
    """
    options = options or Options()
    metrics = standard(observer)
    results = Results({metric.name: metric for metric in metrics})
    clips: list[str] = []
    shown: list[Shown] = []
    for clip in read_clips(shards, observer, options.select):
        held = clip if options.seconds is None else clip.limited(options.seconds)
        part, picture = _measure_clip(held, renderers, metrics, options)
        results = results.merged(part)
        clips.append(clip.name)
        if len(shown) < options.shown:
            shown.append(picture)
        if progress is not None:
            progress(clip.name, len(clips), options.most_clips or 0)
        if len(clips) == options.most_clips:
            break
    if not clips:
        raise InputError(
            f"{spoken(shards)} holds no clip to measure; select others or use longer ones"
        )
    values = results.values()
    return Measured(
        results=results,
        values={**values, **tables.medians(values, options.corpus)},
        intervals=results.intervals(options.draws),
        clips=tuple(dict.fromkeys(clips)),
        systems=(*renderers, *options.benchmark.baselines),
        shown=tuple(shown),
        benchmark=f"{options.benchmark.name}@{options.benchmark.version}",
        corpus=options.corpus,
    )


def show(report: Report, measured: Measured, main: str) -> Report:
    """Adds pictures, curves, players and tables of what was measured.

    Args:
        report: what they are added to.
        measured: see ``measure``.
        main: the system whose output is shown beside the truth.
    """
    report.values(measured.values, measured.intervals).note(benchmark=measured.benchmark)
    report.add_section("Pictures", "Frames of held-out time, which no stage trained on.")
    for clip in measured.shown:
        output = clip.outputs[main]
        sheet = pictures.contact_sheet(clip.truth, output)
        rows = ("truth", main, pictures.SHEET_ROWS[2])
        report.add_picture(f"{clip.name}: the truth, {main}, and what differs.", sheet, rows)
        report.add_curves(
            f"{clip.name}: mouth opening asked for, and measured on the output.",
            {"asked": clip.asked, **_chosen(clip.measured, main)},
            "held-out frame",
            "inner-lip gap over face height",
            from_zero=True,
        )
        both = pictures.side_by_side(clip.truth[:PLAYER_FRAMES], output[:PLAYER_FRAMES])
        report.add_video(f"{clip.name}: truth, {main}.", encode_mp4(both, FPS, PLAYER_CRF))
    report.add_section("Numbers", "Inside the mouth box, on held-out time; arrows point to better.")
    if len(measured.clips) > 1:
        caption = f"Median over {len(measured.clips)} clips."
        report.add_numbers(caption, measured.corpus, measured.systems)
    for name in measured.clips:
        report.add_numbers(name, name, measured.systems)
    return report


def _chosen(tracks: Mapping[str, np.ndarray], main: str) -> dict[str, np.ndarray]:
    """The main system and the two opponents that say most."""
    wanted = (main, "nearest_frame", "ridge")
    return {name.replace("_", " "): tracks[name] for name in wanted if name in tracks}


def evaluate_shards(
    shards: Shards,
    renderers: Mapping[str, Renderer],
    out: Path,
    observer: Observer,
    title: str = "Held-out time",
    notes: Mapping[str, Any] | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measures, and writes ``out/report.json`` and ``out/report.html``.

    Args:
        shards: finished folder of shards.
        renderers: by system's name; the first is the one that is shown.
        out: folder for the report.
        observer: see ``Observer.from_store``.
        title: of the report.
        notes: ``codec``, ``gflop_per_frame``, ``fps`` by part, ``checkpoint`` (its card).
        options: see ``Options``.
        progress: told after each clip.

    Raises:
        InputError: see ``measure``; or the folder can't be written.
    """
    measured = measure(shards, renderers, observer, options, progress)
    lead = (
        f"The last fifth of {len(measured.clips)} clips' time, which nothing was trained on; "
        f"benchmark {measured.benchmark}."
    )
    report = Report(title, lead).note(**(notes or {}))
    show(report, measured, next(iter(renderers)))
    facts = dict(notes or {})
    if isinstance(facts.get("fps"), Mapping):
        report.add_section("Speed").add_speed(facts["fps"], facts.get("gflop_per_frame"))
    if isinstance(facts.get("checkpoint"), Mapping):
        report.add_section("Checkpoint")
        report.add_card("The checkpoint behind these figures.", facts["checkpoint"])
    report.write(out)
    return measured
