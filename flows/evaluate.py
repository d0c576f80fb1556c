"""``evaluate/weekly``: the newest checkpoint of each system against the one accepted before it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.states import Completed, Failed

from core.checkpoint import CARD
from core.files import read_json, write_json
from flows.artifacts import show_text, show_tracked
from flows.benchmark import job_of
from flows.measure import system_at
from flows.orchestration import SAFE, Reference, gpu, key_of, once, plainly, reference
from infra import registry
from infra.settings import settings

ACCEPTED = "accepted.json"


@task(task_run_name="{name} on {benchmark}", **SAFE)
def measure(key: str, name: str, benchmark: str, clips: str, system: str, out: str) -> Reference:
    """Edits the benchmark's videos and measures them; finished videos are kept."""
    from evaluation.video_report import FILE
    from flows.benchmark import Work, evaluate_videos

    with gpu():
        evaluate_videos(benchmark, Path(clips), Path(out), Work(Path(system), system=name))
    return reference(Path(out) / FILE)


@flow(name="evaluate", flow_run_name="{benchmark}")
@plainly
def weekly(
    systems: str = "runs/systems",
    clips: str = "runs/clips",
    benchmark: str = "cross_audio@1",
    out: str = "runs/evaluations",
    accept: bool = False,
) -> Any:
    """Has a system got worse?

    The newest finished checkpoint of each system is measured on the benchmark and compared, video
    by video, with the checkpoint accepted last. Where a number got worse beyond the 95 % interval
    of the paired difference the run fails and names it; the accepted checkpoint stays. Otherwise
    the newest becomes the accepted one. In MLflow's registry the newest is the ``challenger`` of
    its model, the accepted one the ``champion``.

    Args:
        systems: Folder with a folder for each system, as train writes them.
        clips: Folder of talking clips that the benchmark is made from.
        benchmark: Name of the benchmark and its version.
        out: Folder of the reports and of what was accepted last.
        accept: Take the newest checkpoints even where they are worse.

    Returns:
        What was found, a line for each system.
    """
    found = newest(Path(systems))
    if not found:
        return _done(f"nothing to evaluate: {systems} holds no finished system")
    lines, worse = [], []
    for name, checkpoint in found.items():
        folder = Path(out) / name / benchmark.replace("@", "-")
        page = scores(name, checkpoint, benchmark, clips, folder)
        show_tracked(job_of(read_json(page)))
        line, sentence = judged(folder, page, accept)
        remember(name, checkpoint, benchmark, accepted=not sentence)
        lines.append(f"{name}: {line}")
        worse += [f"{name} got worse on {benchmark}: {sentence}"] if sentence else []
    show_text("verdict", "\n".join(f"- {line}" for line in lines))
    return Failed(message=". ".join(worse)) if worse else _done("; ".join(lines))


def newest(systems: Path) -> dict[str, Path]:
    """The newest finished checkpoint of each system: all its stages are there.

    Args:
        systems: ``NAME/STAGE``, or ``NAME/ANYTHING/STAGE`` where a system was trained repeatedly.
    """
    found: dict[str, tuple[float, Path]] = {}
    for card in sorted([*systems.glob(f"*/*/{CARD}"), *systems.glob(f"*/*/*/{CARD}")]):
        folder = card.parent.parent
        name = folder.relative_to(systems).parts[0]
        system, cards = system_at(folder)
        made = card.stat().st_mtime
        if cards.keys() >= system.stages.keys() and made > found.get(name, (0.0, folder))[0]:
            found[name] = (made, folder)
    return {name: folder for name, (_, folder) in sorted(found.items())}


def mark(checkpoint: Path) -> str:
    """16 hex digits that differ where any stage's card does."""
    cards = {p.parent.name: read_json(p) for p in sorted(checkpoint.glob(f"*/{CARD}"))}
    return key_of(cards)[:16]


def scores(name: str, checkpoint: Path, benchmark: str, clips: str, folder: Path) -> Path:
    """``scores.json`` of a checkpoint; measured once for the same clips."""
    from evaluation.benchmarks.pairs import find

    suite, place = find(benchmark), Path(clips)
    wanted = suite.manifest(suite.pairs(place), place)["hash"]
    out = folder / hashlib.sha256(f"{mark(checkpoint)} {wanted}".encode()).hexdigest()[:16]
    key = key_of("measure", mark(checkpoint), wanted, out.resolve())
    made = once(measure, key, name, benchmark, clips, str(checkpoint), str(out))
    assert isinstance(made, Path), made
    return made


def judged(folder: Path, page: Path, accept: bool = False) -> tuple[str, str]:
    """Compares with what was accepted last, and accepts what is not worse.

    Args:
        folder: holds ``accepted.json``.
        page: the new ``scores.json`` below it.
        accept: takes what is worse too.

    Returns:
        What was found, and what got worse ("" when nothing did or it was accepted).
    """
    from evaluation.regression import comparison
    from evaluation.video_report import read_result

    known, new = folder / ACCEPTED, page.parent.name
    last = folder / read_json(known)["checkpoint"] / page.name if known.exists() else None
    if last is None or not last.exists():
        write_json(known, {"checkpoint": new})
        return "the first, nothing to compare it with", ""
    if last == page:
        return "nothing new since the last evaluation", ""
    found = comparison(read_result(last), read_result(page))
    notes = "".join(f" ({note})" for note in found.notes)
    if found.worse and not accept:
        return f"worse: {found.sentence()}{notes}", found.sentence() + notes
    write_json(known, {"checkpoint": new})
    return (f"worse and accepted: {found.sentence()}" if found.worse else "not worse") + notes, ""


def remember(name: str, checkpoint: Path, benchmark: str, accepted: bool) -> None:
    """Registers a checkpoint as its model's challenger, and as champion where it was accepted."""
    # Nothing of this code's revision: an old checkpoint evaluated again is no new version.
    tags = {"system": name, "stage": "all", "cards": mark(checkpoint), "benchmark": benchmark}
    made = registry.register(settings(), name, checkpoint, tags)
    if made is not None and accepted:
        registry.promote(settings(), name, made.number)


def _done(text: str) -> Any:
    return Completed(message=text, data=text)
