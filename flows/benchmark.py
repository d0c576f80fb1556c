"""``flashlips evaluate --benchmark``: edited videos, ours or anybody's, measured and reported."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.contracts import Predictor
from core.errors import InputError
from core.weights import REGISTRY, Store
from evaluation.benchmarks.pairs import Heads, Pair, VideoBenchmark, find
from evaluation.comparison import compare
from evaluation.metrics.speed import Speed, speed
from evaluation.published import MARK, published
from evaluation.published.runs import SETTINGS, reference_runs
from evaluation.scores import Scores
from evaluation.video_numbers import judged
from evaluation.video_report import FILE, ends, read_result, result, write
from evaluation.video_run import Progress, edit, make, measure
from evaluation.videos import Missing, Reader, VideoMetric
from flows.console import Console
from flows.tracking import RUN, parent_run
from infra.mlflow_tracker import run_tags
from infra.settings import settings

SHOWN = ("lip_score", "lmd", "leakage", "mouth_psnr", "psnr")
"""Numbers by which videos are called worst and best: the first that was measured, then any."""

MANY = 20
"""From so many pairs on, starting Ray to use every core pays."""


@dataclass(frozen=True)
class Work:
    """Whose videos are measured.

    Attributes:
        checkpoint: our system's folder; the shipped nano by default.
        videos: folder of videos that another system made, ``NAME.mp4`` for each pair of the
            benchmark; then nothing is edited here.
        system: what the system is called; needed with ``videos``.
        speed: whether one clip is edited fifteen times more, to say how fast (section 4.3 of
            FlashLips: 5 times to warm up, then 10).
        random: whether metrics whose weights are absent are tried with random ones, under
            ``random/NAME``: to see that they run, for their numbers mean nothing.
    """

    checkpoint: Path | None = None
    videos: Path | None = None
    system: str = ""
    speed: bool = False
    random: bool = False

    def __post_init__(self) -> None:
        if self.videos is not None and not self.system:
            raise InputError("--videos needs --system: what do tables call whoever made them?")
        if self.videos is not None and self.speed:
            raise InputError("finished videos tell no speed; leave --speed or --videos out")

    @property
    def name(self) -> str:
        """What tables call the system."""
        ours = "nano" if self.checkpoint is None else self.checkpoint.resolve().name
        return self.system or ours


@dataclass(frozen=True)
class Made:
    """The videos: where they are, what failed, and who made them how fast, where that is known."""

    videos: Path
    failures: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] | None = None
    speed: Speed | None = None


def evaluate_videos(name: str, clips: Path | None, out: Path, work: Work = Work()) -> Path:
    """Measures a system on a benchmark; gives the report's page.

    Args:
        name: of the benchmark, such as ``cross_audio@1``.
        clips: folder of talking clips; needed unless the benchmark renders its own.
        out: folder of the report; ours also keeps its videos there.
        work: whose videos.

    Raises:
        InputError: no such benchmark or folder.
    """
    benchmark, store, console = find(name), settings().store(), Console()
    clips = _clips(benchmark, clips, store, console)
    pairs = benchmark.pairs(clips)
    manifest = benchmark.manifest(pairs, clips)
    made = Made(work.videos) if work.videos else _made(benchmark, pairs, work, out, console)
    reader, metrics, missing = _measures(benchmark, store, work.random)
    bar, workers, players = _bar(console, "measure"), _workers(len(pairs)), out / "players"
    if workers > 1:
        # Imported here: Ray takes seconds.
        from evaluation import ray_runner

        tools = functools.partial(_tools, benchmark.id, work.random)
        there = players.resolve()  # workers stand in another folder
        scores = ray_runner.measure(pairs, made.videos, work.name, tools, workers, bar, there)
    else:
        scores = measure(pairs, made.videos, work.name, metrics, reader, bar, players)
    failures = {**scores.failures, **made.failures}
    scores = Scores(scores.metrics, scores.rows, failures, scores.pairs)
    found = result(scores, manifest, work.name, missing, made.card, made.speed)
    page = write(out, found, _players(found, players))
    _track(found, page, out)
    return page


def compare_results(places: Sequence[Path], out: Path, ablate: str = "") -> Path:
    """``flashlips compare``: gives the page; ``ablate`` as ``evaluation.ablation`` reads it."""
    return compare([read_result(place) for place in places], out, ablate)


def _clips(benchmark: VideoBenchmark, given: Path | None, store: Store, console: Console) -> Path:
    """The folder of clips, rendered first where the benchmark says whom."""
    if given is not None:
        return given
    if benchmark.heads is None:
        raise InputError(f"{benchmark.id} needs --clips: the folder of talking clips")
    return _rendered(benchmark.heads, store, console)


def _rendered(heads: Heads, store: Store, console: Console) -> Path:
    # Imported here: the renderer takes seconds.
    from preprocessing.datasets.synthetic import render_corpus

    corpus = f"{heads.people}x1x{heads.seconds:g}s-{heads.seed}"
    root = settings().runs / "corpus" / corpus
    render_corpus(
        root, store, heads.people, heads.seconds, seed=heads.seed, workers=settings().threads,
        progress=console.counter("render"),
    )  # fmt: skip
    return root


def _made(
    benchmark: VideoBenchmark, pairs: Sequence[Pair], work: Work, out: Path, console: Console
) -> Made:
    """Edits the videos with our system."""
    from inference.load import load

    store, videos = settings().store(), out / "videos"
    predictor = load(work.checkpoint, store)
    failures = make(benchmark, pairs, predictor, store, videos, _bar(console, "edit"))
    used = {"references": predictor.spec.references}  # audio-to-lips has a card of its own
    card = vars(predictor.card) | used | {"recipe": "see its card"}
    fast = _timed(benchmark, pairs, predictor, store) if work.speed else None
    return Made(videos, failures, card, fast)


def _timed(
    benchmark: VideoBenchmark, pairs: Sequence[Pair], predictor: Predictor, store: Store
) -> Speed:
    """How fast the first pair with a sound is edited, reading and writing included."""
    from core.media.video import probe

    pair = next((p for p in pairs if p.audio is not None), None)
    if pair is None:
        raise InputError(f"{benchmark.id} has no pair with a sound to time; leave --speed out")
    seconds = benchmark.viewing.seconds
    length = min(probe(pair.source).duration_s, seconds or float("inf"))
    with tempfile.TemporaryDirectory(prefix="flashlips-speed-") as scratch:
        out = Path(scratch) / "out.mp4"
        return speed(lambda: edit(benchmark, pair, pair.audio, out, predictor, store), length)


def _measures(
    benchmark: VideoBenchmark, store: Store, random: bool
) -> tuple[Reader, list[VideoMetric], list[Missing]]:
    from evaluation.metrics import of_videos, random_backbones
    from evaluation.metrics.plain import plain
    from models.experts.face import FaceMesh

    with_nets, missing = of_videos(store, settings().runs / "features")
    metrics = [*plain(store), *with_nets]
    for metric in metrics:
        lacking = tuple(name for name in metric.needs if not store.has(name))
        if lacking:
            remedies = [REGISTRY[name].remedy(store.folders) for name in lacking]
            missing.append(Missing(metric.name, lacking, "; ".join(dict.fromkeys(remedies))))
    absent = {m.name for m in missing}
    here = [metric for metric in metrics if metric.name not in absent]
    if random:
        folder = settings().runs / "random_weights"
        here += random_backbones(folder, settings().runs / "features", only=absent)
    whole = any(getattr(metric, "whole", False) for metric in here)
    return Reader(benchmark.viewing, FaceMesh(store), whole=whole), here, missing


def _tools(name: str, random: bool) -> tuple[Reader, list[VideoMetric]]:
    """What a worker measures with."""
    reader, metrics, _ = _measures(find(name), settings().store(), random)
    return reader, metrics


def _bar(console: Console, part: str) -> Progress:
    start = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        console.bar(part, done, total, (time.monotonic() - start) / done * (total - done), what)

    return tell


def _workers(pairs: int) -> int:
    """How many processes measure: what the settings say, a core each where pairs are many."""
    given = settings()
    many = given.threads if pairs >= MANY else 1
    return max(given.workers, many)


def _players(found: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """The worst and best videos, source and output side by side."""
    number = judged(found, SHOWN)
    if number is None:
        return {}
    return {
        f"{name}: {number} {value:.4g}": (folder / f"{name}.mp4").read_bytes()
        for name, value in ends(found, number)
    }


def _track(found: dict[str, Any], page: Path, out: Path) -> None:
    """In MLflow: one run for each benchmark's work, below it a child for each system measured."""
    benchmark, folder = found["benchmark"], job_of(found)
    tags = {"benchmark": benchmark, "data": found["manifest"]["hash"], "stage": "evaluate"}
    _track_published(benchmark)
    parent = parent_run(folder, f"evaluate {benchmark}", tags)
    recipe = (found["checkpoint"] or {}).get("recipe_sha", "")
    whose = run_tags(found["system"], "evaluate", recipe, found["manifest"]["hash"])
    whose |= {"benchmark": benchmark, "complete": str(found["complete"]).lower()}
    with parent.child(found["system"], whose) as child:
        child.metrics({k: v for k, v in found["values"].items() if v is not None}, 0)
        for name in (FILE, "table.csv", "table.tex"):
            child.artifact(out / name)
        child.artifact(page)
    parent.close()


def job_of(found: dict[str, Any]) -> Path:
    """Folder of the run that all systems on a benchmark's work share (see ``flows.tracking``)."""
    return settings().runs / "evaluations" / f"{found['benchmark']}-{found['manifest']['hash']}"


def _track_published(benchmark: str) -> None:
    """What papers print in the benchmark's setting, once, in an experiment of its own."""
    setting = SETTINGS.get(benchmark.partition("@")[0])
    folder = settings().runs / "evaluations" / f"published-{setting}"
    if setting is None or (folder / RUN).exists():
        return
    parent = parent_run(folder, f"published, {setting}", {"mark": MARK}, "published")
    for run in reference_runs([row for row in published() if row.setting == setting]):
        with parent.child(run.name, run.tags) as child:
            child.metrics(run.values, 0)
    parent.close()
