"""``flashlips demo``: the main job, then a video; with a clip, that person too."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from core.files import read_json
from flows.console import Console, duration
from flows.end_to_end import end_to_end, folder_of
from flows.recipes import MainJob, load_job
from flows.work import sync_video
from infra.addresses import hidden
from infra.settings import settings


def demo(clip: Path | None, recipe: str, overrides: Sequence[str]) -> int:
    """Runs it and says where everything is."""
    start, console = time.monotonic(), Console()
    job = load_job(recipe, overrides)
    folder = folder_of(job)
    if clip is not None and not clip.is_file():
        raise InputError(f"no file {clip}: give CLIP a video of one talking person")
    report = end_to_end(recipe, tuple(overrides))
    console.say("sync a person whom no stage has seen")
    person, voice = example(job, folder.parent / "corpus" / job.corpus)
    video = sync_video(person, voice, folder / "synced.mp4", folder / "system", console=console)
    lines = [
        f"ran        the synthetic demo ({job.identities} people), "
        f"{duration(time.monotonic() - start)} in all",
        f"video      {video}  ({person.parent.name} says what {voice.parent.name} said)",
        f"report     {report}",
    ]
    lines += _verdicts(Path(report).with_name("report.json"))
    if clip is not None:
        lines += _own_clip(clip, voice, folder)
    lines += [
        f"mlflow     run {job.name!r} in {hidden(settings().mlflow_uri)}",
        f"open it    .venv/bin/mlflow ui --backend-store-uri {hidden(settings().mlflow_uri)}",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return 0


def example(job: MainJob, corpus: Path) -> tuple[Path, Path]:
    """A held-out person's video, and somebody else's as the new voice."""
    from preprocessing.datasets.synthetic import clips

    by_speaker = {str(c.facts["speaker"]): Path(c.source) for c in clips(corpus)}
    return by_speaker[job.speakers()[0]], by_speaker[min(by_speaker)]


def _verdicts(report: Path) -> list[str]:
    """What the gates said, in a line; and one for each that was missed."""
    gates = read_json(report)["gates"]
    missed = [g for g in gates if not g["passed"]]
    lines = [f"gates      {len(gates) - len(missed)} of {len(gates)} passed"]
    return lines + [
        f"  missed   {g['name']}: {g['value']:.3g}, wanted {g['wanted']}" for g in missed
    ]


def _own_clip(clip: Path, voice: Path, folder: Path) -> list[str]:
    from flows.personalise import personalise

    person = folder / f"personal-{clip.stem}"
    result = personalise(clip, person, minutes=5.0)
    video = sync_video(clip, voice, person / "synced.mp4", Path(result.checkpoint))
    return [
        f"ran        personalise on {clip}",
        f"video      {video}",
        f"report     {result.report}",
    ]
