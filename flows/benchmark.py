"""``flashlips evaluate --benchmark``: edited videos, ours or anybody's, measured and reported."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.checkpoint import CheckpointRef
from core.errors import InputError
from core.weights import REGISTRY, Store
from evaluation.benchmarks.pairs import Pair, VideoBenchmark, find
from evaluation.comparison import compare
from evaluation.scores import Scores
from evaluation.video_numbers import judged
from evaluation.video_report import FILE, ends, player, read_result, result, write
from evaluation.video_run import Progress, case_of, make, measure
from evaluation.videos import Missing, Reader, VideoMetric
from flows.console import Console
from flows.tracking import child_run
from infra.settings import settings

SHOWN = ("lip_score", "lmd", "leakage", "mouth_psnr", "psnr")
"""Numbers by which videos are called worst and best: the first that was measured, then any."""


def evaluate_videos(
    name: str,
    clips: Path,
    out: Path,
    checkpoint: Path | None = None,
    videos: Path | None = None,
    system: str = "",
) -> Path:
    """Measures a system on a benchmark; gives the report's page.

    Args:
        name: of the benchmark, such as ``cross_audio@1``.
        clips: folder of talking clips.
        out: folder of the report; ours also keeps its videos there.
        checkpoint: our system's folder; the shipped nano by default.
        videos: folder of videos that another system made, ``NAME.mp4`` for each pair of the
            benchmark; then nothing is edited here.
        system: what the system is called; needed with ``videos``.

    Raises:
        InputError: no such benchmark or folder, or no name for the videos' system.
    """
    benchmark, store, console = find(name), settings().store(), Console()
    if videos is not None and not system:
        raise InputError("--videos needs --system: what do tables call whoever made them?")
    pairs = benchmark.pairs(clips)
    failures: dict[str, str] = {}
    card: dict[str, Any] | None = None
    manifest = benchmark.manifest(pairs, clips)
    if videos is None:
        videos = out / "videos"
        card, failures = _edited(benchmark, pairs, checkpoint, store, videos, console)
        system = system or (Path(card["uri"]).parent.name if checkpoint else "nano")
    reader, metrics, missing = _measures(benchmark, store)
    bar, workers = _bar(console, "measure"), settings().workers
    if workers > 1:
        # Imported here: Ray takes seconds.
        from evaluation import ray_runner

        make_tools = functools.partial(_tools, benchmark.id)
        scores = ray_runner.measure(pairs, videos, system, make_tools, workers, bar)
    else:
        scores = measure(pairs, videos, system, metrics, reader, bar)
    scores = Scores(scores.metrics, scores.rows, {**scores.failures, **failures}, scores.pairs)
    found = result(scores, manifest, system, missing, card)
    page = write(out, found, _players(found, pairs, videos, reader))
    _track(found, page, out)
    return page


def compare_results(places: Sequence[Path], out: Path, ablate: str = "") -> Path:
    """``flashlips compare``: gives the page; ``ablate`` as ``evaluation.ablation`` reads it."""
    return compare([read_result(place) for place in places], out, ablate)


def _edited(
    benchmark: VideoBenchmark,
    pairs: Sequence[Pair],
    checkpoint: Path | None,
    store: Store,
    folder: Path,
    console: Console,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Makes the videos; gives the checkpoint's card and what failed."""
    from inference.load import load

    predictor = load(checkpoint, store)
    failures = make(benchmark, pairs, predictor, store, folder, _bar(console, "edit"))
    card: CheckpointRef = predictor.card
    used = {"references": predictor.spec.references}  # audio-to-lips has a card of its own
    return vars(card) | used | {"recipe": "see its card"}, failures


def _measures(
    benchmark: VideoBenchmark, store: Store
) -> tuple[Reader, list[VideoMetric], list[Missing]]:
    from evaluation.metrics import of_videos
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
    return Reader(benchmark.viewing, FaceMesh(store)), here, missing


def _tools(name: str) -> tuple[Reader, list[VideoMetric]]:
    """What a worker measures with."""
    reader, metrics, _ = _measures(find(name), settings().store())
    return reader, metrics


def _bar(console: Console, part: str) -> Progress:
    start = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        console.bar(part, done, total, (time.monotonic() - start) / done * (total - done), what)

    return tell


def _players(
    found: dict[str, Any], pairs: Sequence[Pair], videos: Path, reader: Reader
) -> dict[str, bytes]:
    """The worst and best videos, source and output side by side."""
    number = judged(found, SHOWN)
    if number is None:
        return {}
    by_name, shown = {p.name: p for p in pairs}, {}
    for name, value in ends(found, number):
        case = case_of(by_name[name], videos, found["system"], reader)
        caption = f"{name}: {number} {value:.4g}"
        shown[caption] = player(case.source.crops, case.output.crops, reader.viewing.fps)
    return shown


def _track(found: dict[str, Any], page: Path, out: Path) -> None:
    """One run for the evaluation, a child for the system, in MLflow."""
    tags = {"benchmark": found["benchmark"], "data": found["manifest"]["hash"]}
    tags["system"] = found["system"]
    with child_run(out, f"evaluate {found['benchmark']}", found["system"], tags) as child:
        child.metrics({k: v for k, v in found["values"].items() if v is not None}, 0)
        for name in (FILE, "table.csv", "table.tex"):
            child.artifact(out / name)
        child.artifact(page)
