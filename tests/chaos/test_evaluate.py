"""Evaluation, broken in three ways: a rerun gives equal scores, told to MLflow once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.files import read_json
from core.testing import talking_video
from infra.mlflow_client import connect
from tests.chaos.disk import small_disk
from tests.chaos.harness import Moment, Note, Run, flashlips

PAIRS, FRAMES = 6, 15
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory, store) -> Path:
    """Six talking clips."""
    folder = tmp_path_factory.mktemp("chaos") / "clips"
    folder.mkdir()
    for index in range(PAIRS):
        talking_video(folder / f"{index}.mp4", FRAMES, index)
    return folder


def start(clips: Path, out: Path, said: Path, *words: object, **env: str) -> Run:
    env = {"FLASHLIPS_RUNS": str(clips.parent / f"runs-{said.parent.name}"), **env}
    command = ["evaluate", "--benchmark", "reconstruction@1", "--clips", clips, "--out", out]
    return flashlips(*command, *words, said=said, **env)


def scores(out: Path) -> dict[str, Any]:
    """All but the code's revision, which a commit in the meantime changes."""
    return {k: v for k, v in read_json(out / "scores.json").items() if k != "revision"}


@pytest.fixture(scope="module")
def calm(clips) -> dict[str, Any]:
    """Our system, undisturbed."""
    out = clips.with_name("calm")
    with start(clips, out, clips.with_name("calm.said")) as run:
        run.completed()
    assert scores(out)["complete"]
    return scores(out)


def tracked_once(clips: Path, folder: Path, found: dict[str, Any]) -> None:
    """One parent for the work and one child with these very numbers."""
    runs = clips.parent / f"runs-{folder.name}"
    client = connect(f"sqlite:///{runs / 'mlflow.db'}", runs)
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    found_runs = client.search_runs([experiment])
    assert len(found_runs) == 2
    (child,) = (run for run in found_runs if "mlflow.parentRunId" in run.data.tags)
    known = {name: value for name, value in found["values"].items() if value is not None}
    assert child.data.metrics == pytest.approx(known)


@pytest.mark.cell("evaluate", "driver")
def test_driver(clips, calm, moment: Moment, note: Note, tmp_path):
    """While videos are edited, and while they are measured."""
    out, n = tmp_path / "out", moment.rng.randrange(1, PAIRS - 1)
    pattern, done = moment.one_of("videos/*.made.json|edited", "players/*.mp4|measured").split("|")
    note.how, note.when = "SIGKILL", f"{n} of {PAIRS} videos were {done}"
    with start(clips, out, tmp_path / "said") as run:
        run.until(lambda: len(list(out.glob(pattern))) >= n)
        run.kill()
    assert not (out / "scores.json").exists(), "it was killed too late"
    made = {path: path.stat().st_mtime_ns for path in out.glob("videos/*.made.json")}
    with start(clips, out, tmp_path / "again") as run:
        run.completed()
    assert scores(out) == calm
    assert all(path.stat().st_mtime_ns == at for path, at in made.items()), "edited twice"
    assert not list(out.rglob(".*.part*")), "halves of files were left"
    tracked_once(clips, tmp_path, calm)
    note.what = "completed after restart, edited videos kept"


@pytest.mark.ray
@pytest.mark.cell("evaluate", "worker")
def test_worker(clips, moment: Moment, note: Note, tmp_path):
    """kill -9 of the Ray worker that measures."""
    words = ("--videos", clips, "--system", "same")
    with start(clips, tmp_path / "calm", tmp_path / "calm.said", *words) as run:
        run.completed()
    out, n = tmp_path / "out", moment.rng.randrange(1, PAIRS // 2)
    note.how, note.when = "SIGKILL of a Ray actor", f"{n} of {PAIRS} videos were measured"
    env = {"FLASHLIPS_WORKERS": "2", "FLASHLIPS_RUNS": str(clips.parent / "runs-of-worker")}
    with start(clips, out, tmp_path / "said", *words, **env) as run:
        run.until(lambda: len(list(out.glob("players/*.mp4"))) >= n)
        actors = run.family("ray::_Worker.measure")
        assert actors, run.family("ray::")
        actors[moment.rng.randrange(len(actors))].kill()
        assert len(list(out.glob("players/*.mp4"))) < PAIRS, "it was killed too late"
        run.completed()
    assert scores(out) == scores(tmp_path / "calm")
    note.what = "went on without a restart"


@pytest.mark.cell("evaluate", "disk full")
def test_disk(clips, calm, moment: Moment, note: Note, tmp_path):
    """No pair is blamed for the disk."""
    size = sum(path.stat().st_size for path in clips.with_name("calm").rglob("*.mp4"))
    free_kb = int(size / 1024 * (0.2 + 0.5 * moment.rng.random()))
    with small_disk(tmp_path / "small", free_kb) as disk:
        out = disk.folder / "out"
        with start(clips, out, tmp_path / "said", **disk.env) as run:
            run.until(lambda: len(list(out.glob("videos/*.made.json"))) >= 2, ended=True)
            disk.fill()
            sentence = run.refused()
        done = len(list(out.glob("videos/*.made.json")))
        note.how, note.when = disk.how, f"{done} of {PAIRS} videos were edited"
        assert "No space left on device" in sentence
        assert "make room" in sentence
        assert not (out / "scores.json").exists()
        disk.grow()
        with start(clips, out, tmp_path / "again", **disk.env) as run:
            run.completed()
        assert scores(out) == calm
    tracked_once(clips, tmp_path, calm)
    note.what = f"failed with: {sentence}; rerun completed"
