"""A trained system on held-out time: renderers of the system, measures of the house, one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sized
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoint import CheckpointRef, read_card
from core.contracts import Tracker
from core.errors import InputError
from core.shards import Shards
from evaluation.benchmarks.mask_free import MaskFree, mask_free
from evaluation.clip_data import read_clips
from evaluation.gates import Gate, above_zero, between
from evaluation.observer import Observer
from evaluation.report import Report
from evaluation.run import Measured, Options, measure, show
from evaluation.stats import Interval
from flows.console import Console
from flows.work import NANO
from infra.settings import settings
from infra.trackers import read_history
from models.system import System, load_system

EDITOR = "reconstruction"
MASK_FREE_R, MASK_FREE_SLOPE, MASK_FREE_LOSS_DB = 0.85, (0.6, 1.2), 1.0


def system_at(folder: Path) -> tuple[System, dict[str, CheckpointRef]]:
    """The system that a folder of stages belongs to, and its cards by stage.

    Raises:
        InputError: no stage there.
    """
    cards = [read_card(p.parent) for p in sorted(folder.glob("*/card.json"))]
    if not cards:
        raise InputError(f"{folder} holds no stages: name a folder made by 'personalise' or 'demo'")
    system = load_system(cards[0].system)
    return system, {card.stage: card for card in cards}


def evaluate_system(
    shards: Shards,
    checkpoint: Path | None,
    out: Path,
    title: str = "Held-out time",
    tracker: Tracker | None = None,
    most_clips: int | None = 8,
) -> Path:
    """Measures a system beside the baselines and writes the report; gives the HTML's path.

    Args:
        shards: what to measure on.
        checkpoint: system folder; the shipped nano by default.
        out: folder for ``report.json`` and ``report.html``.
        title: of the report.
        tracker: gets the numbers and the report.
        most_clips: at most so many clips.
    """
    console, folder = Console(), checkpoint or NANO
    system, cards = system_at(folder)
    if system.renderers is None:
        raise InputError(f"system {system.name} has no renderers: it can't be measured by frames")
    store = settings().store()
    draw, observer = system.renderers(folder, store), Observer.from_store(store)
    start = time.monotonic()

    def tell(name: str, done: int, total: int) -> None:
        left = (time.monotonic() - start) / done * (total - done) if total else float("nan")
        console.bar("measure", done, total or done + 1, left, name)

    options = Options(most_clips=most_clips, draws=200)
    renderers = {EDITOR: draw.by_name()[EDITOR], **draw.by_name()}
    measured = measure(shards, renderers, observer, options, tell)
    free = _mask_free(shards, draw, observer, most_clips)
    report = Report(title, _lead(measured))
    report.note(codec=cards[EDITOR].codec, checkpoint=_plain(cards[EDITOR]))
    report.add_section("Gates", "Held-out time: the last fifth of each clip, which nothing saw.")
    report.add_gates([*stage_gates(cards), *mask_free_gates(free)])
    for name, found in free.items():
        report.values({f"{name}.mask_free.{k}": v for k, v in _numbers(found).items()})
    show(report, measured, EDITOR)
    _learning(report, folder, cards)
    report.add_section(
        "Speed", "On this machine, of face crops in memory: no video is read or written."
    )
    report.add_speed(_speed(draw, shards), draw.gflop_per_frame())
    report.add_section("Checkpoint")
    for stage, card in cards.items():
        report.add_card(stage, _plain(card))
    machine, page = report.write(out)
    if tracker is not None:
        tracker.metrics({k: v for k, v in measured.values.items() if np.isfinite(v)}, 0)
        tracker.artifact(machine)
        tracker.artifact(page)
    return page


def stage_gates(cards: Mapping[str, CheckpointRef]) -> list[Gate]:
    """Each stage against its copy baseline, as the loop measured it at its end."""
    gates = []
    for stage, card in cards.items():
        m = card.metrics
        if "held_out.gain" in m:
            scale = m["held_out.copy_error"] or 1.0
            ends = (m["held_out.gain"], m["held_out.gain_low"], m["held_out.gain_high"])
            gain = Interval(*(end / scale for end in ends))
            gates.append(above_zero(f"{stage}: share of its copy baseline's error removed", gain))
    return gates


def mask_free_gates(found: Mapping[str, MaskFree]) -> list[Gate]:
    """The mask-removal claim on raw output, over clips (medians)."""
    if not found:
        return []
    loss = float(np.median([f.outside_psnr - f.codec_psnr for f in found.values()]))
    r = float(np.median([f.r for f in found.values()]))
    slope = float(np.median([f.slope for f in found.values()]))
    return [
        between(
            "mask-free: PSNR outside M, editor minus codec, dB", loss, (-MASK_FREE_LOSS_DB, 99)
        ),
        between("mask-free: measured opening on asked opening, r", r, (MASK_FREE_R, 1.0)),
        between("mask-free: slope of the same", slope, MASK_FREE_SLOPE),
    ]


def _mask_free(
    shards: Shards, draw: Any, observer: Observer, most: int | None
) -> dict[str, MaskFree]:
    found = {}
    for clip in read_clips(shards):
        found[clip.name] = mask_free(clip, draw.driven, draw.codec, observer)
        if len(found) == most:
            break
    return found


def _numbers(found: MaskFree) -> dict[str, float]:
    return {
        "outside_psnr": found.outside_psnr,
        "codec_outside_psnr": found.codec_psnr,
        "opening_r": found.r,
        "opening_slope": found.slope,
    }


def _lead(measured: Measured) -> str:
    return (
        f"{len(measured.clips)} clips, the last fifth of their time, which no stage trained on. "
        f"Benchmark {measured.benchmark}; {EDITOR} is the masked editor with the frames' true lips "
        "vectors, lips_change the mask-free one on frames whose mouth was painted away, audio the "
        "mask-free one driven by sound."
    )


def _plain(card: CheckpointRef) -> dict[str, Any]:
    return {k: v for k, v in asdict(card).items() if k != "uri"}


def _learning(report: Report, folder: Path, cards: Mapping[str, CheckpointRef]) -> None:
    report.add_section("Learning", "Loss terms by step, unweighted.")
    for stage in cards:
        rows = read_history(folder / stage)
        names = sorted({k for row in rows for k in row if k.startswith("loss")})
        series = {}
        for name in names:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if len(points) > 1:
                series[name] = ([p[0] for p in points], [p[1] for p in points])
        if series:
            report.add_curves(stage, series, "step", "loss", log_y=True)


def _speed(draw: Any, shards: Shards) -> dict[str, float]:
    """Frames a second of encode, edit and decode on this machine, of one clip's frames."""
    clip = next(iter(read_clips(shards)))
    rates = {name: _rate(run) for name, run in draw.parts(clip).items()}
    rates["all three"] = 1 / sum(1 / rate for rate in rates.values())
    return rates | {name: _rate(run) for name, run in draw.teacher_parts(clip).items()}


def _rate(run: Callable[[], Sized]) -> float:
    """Frames a second; a first time is not counted."""
    run()
    start = time.perf_counter()
    count = len(run())
    return count / (time.perf_counter() - start)
