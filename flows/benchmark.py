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
from evaluation.scores import Scores
from evaluation.video_report import FILE, compare, ends, read_result, result, write
from evaluation.video_run import Progress, make, measure
from evaluation.videos import Missing, Reader, VideoMetric
from flows.console import Console
from flows.tracking import child_run
from infra.settings import settings

SHOWN = ("lip_score", "lmd", "leakage", "mouth_psnr", "psnr")
"""Numbers by which videos are called worst and best: the first that was measured."""

MANY = 20
"""From so many pairs on, starting Ray to use every core pays."""


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
    bar, workers, players = _bar(console, "measure"), _workers(len(pairs)), out / "players"
    if workers > 1:
        # Imported here: Ray takes seconds.
        from evaluation import ray_runner

        make_tools = functools.partial(_tools, benchmark.id)
        there = players.resolve()  # workers stand in another folder
        scores = ray_runner.measure(pairs, videos, system, make_tools, workers, bar, there)
    else:
        scores = measure(pairs, videos, system, metrics, reader, bar, players)
    scores = Scores(scores.metrics, scores.rows, {**scores.failures, **failures}, scores.pairs)
    found = result(scores, manifest, system, missing, card)
    page = write(out, found, _players(found, players))
    _track(found, page, out)
    return page


def compare_results(places: Sequence[Path], out: Path) -> Path:
    """``flashlips compare``: gives the page."""
    return compare([read_result(place) for place in places], out)


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
    return vars(card) | {"recipe": "see its card"}, failures


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
    whole = any(getattr(metric, "whole", False) for metric in here)
    return Reader(benchmark.viewing, FaceMesh(store), whole=whole), here, missing


def _tools(name: str) -> tuple[Reader, list[VideoMetric]]:
    """What a worker measures with."""
    reader, metrics, _ = _measures(find(name), settings().store())
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
    known = {n for v in found["videos"].values() for n in v}
    number = next((n for n in SHOWN if n in known), None)
    if number is None:
        return {}
    return {
        f"{name}: {number} {value:.4g}": (folder / f"{name}.mp4").read_bytes()
        for name, value in ends(found, number)
    }


def _track(found: dict[str, Any], page: Path, out: Path) -> None:
    """One run for the evaluation, a child for the system, in MLflow."""
    tags = {"benchmark": found["benchmark"], "data": found["manifest"]["hash"]}
    tags["system"] = found["system"]
    with child_run(out, f"evaluate {found['benchmark']}", found["system"], tags) as child:
        child.metrics({k: v for k, v in found["values"].items() if v is not None}, 0)
        for name in (FILE, "table.csv", "table.tex"):
            child.artifact(out / name)
        child.artifact(page)
