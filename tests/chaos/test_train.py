"""Training, broken in seven ways: every number told once and in order, the weights to the bit."""

from __future__ import annotations

import pytest

from core.files import read_json
from tests.chaos.disk import small_disk
from tests.chaos.harness import Moment, Note, flashlips
from tests.chaos.recipes import PAUSE_S, STEPS
from tests.chaos.services import Team, histories, team
from tests.chaos.training import (
    Training,
    calm_run,
    damage,
    dies,
    ends_as,
    kill,
    last_step,
    told,
)
from tests.servers import need_postgres
from tests.training import dummy

__all__ = ["team"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return dummy.write_clips(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, str]:
    """Where these runs are tracked."""
    return {"FLASHLIPS_RUNS": str(tmp_path_factory.mktemp("runs"))}


@pytest.fixture(scope="module")
def calm(shards, runs, tmp_path_factory):
    """An undisturbed run of one worker, made without Ray: the weights are the same."""
    return calm_run(shards, tmp_path_factory.mktemp("calm") / "out", 0, **runs)


@pytest.fixture(scope="module")
def calm_of_two(shards, runs, tmp_path_factory):
    """An undisturbed run of two workers."""
    return calm_run(shards, tmp_path_factory.mktemp("calm") / "out", 2, **runs)


def in_mlflow(out, calm, address: str) -> None:
    """Histories once and in order; the numbers are those of the undisturbed run."""
    rows = told(calm)
    names = list(rows[0][1])
    assert histories(address, out, names) == {
        name: [(step, values[name]) for step, values in rows] for name in names
    }


def local(runs: dict[str, str]) -> str:
    return f"sqlite:///{runs['FLASHLIPS_RUNS']}/mlflow.db"


def step_of(moment: Moment, note: Note) -> int:
    step = moment.rng.randrange(10, STEPS // 2)
    note.when = f"step {step} of {STEPS}"
    return step


@pytest.mark.ray
@pytest.mark.cell("train", "driver")
def test_driver(shards, runs, calm, moment: Moment, note: Note, tmp_path):
    """Its workers go too; the rerun goes on, also at once, also from a damaged state."""
    out, step = tmp_path / "out", step_of(moment, note)
    variant = moment.one_of("", "last state damaged", "rerun at once")
    note.how = "SIGKILL" + (variant and f", {variant}")
    spoilt = ""
    with Training(shards, out, 1, **runs) as run:
        run.reach(step)
        orphan = run.worker(0)
        kill(run.process.pid, moment)
        if variant != "rerun at once":
            dies(orphan)
            assert not (out / "card.json").exists(), "it was killed too late"
        if variant == "last state damaged":
            spoilt = damage(out)
    with Training(shards, out, 1, pause_s=0.0, **runs) as again:
        said = again.completed()
    assert said.count("is damaged") == bool(spoilt), said
    assert spoilt in said
    ends_as(out, calm)
    in_mlflow(out, calm, local(runs))
    note.what = "completed after restart"


@pytest.mark.ray
@pytest.mark.cell("train", "worker")
def test_worker(shards, runs, calm_of_two, moment: Moment, note: Note, tmp_path):
    """One of two workers is killed."""
    out, step = tmp_path / "out", step_of(moment, note)
    note.how = "SIGKILL of one of two workers"
    with Training(shards, out, 2, **runs) as run:
        run.reach(step)
        pid = run.worker(moment.rng.randrange(2))
        kill(pid, moment)
        run.completed()
        assert pid not in map(run.worker, range(2)), "nobody began again"
    ends_as(out, calm_of_two)
    in_mlflow(out, calm_of_two, local(runs))
    note.what = "went on from its last state without a restart"


@pytest.mark.ray
@pytest.mark.cell("train", "Ray node")
def test_node(shards, runs, calm_of_two, moment: Moment, note: Note, tmp_path, two_nodes):
    """Each node has room for one worker; another node joins after one was lost."""
    out, step = tmp_path / "out", step_of(moment, note)
    note.how = "raylet and its worker killed; another node joined"
    with (
        two_nodes(SLOW_PAUSE=str(PAUSE_S), SLOW_PIDS=str(out.with_suffix(".pids"))) as nodes,
        Training(shards, out, 2, RAY_ADDRESS=nodes.address, **runs) as run,
    ):
        run.reach(step)
        before = {run.worker(rank) for rank in range(2)}
        nodes.lose()
        assert last_step(out) < STEPS, "it was taken away too late"
        nodes.noticed()
        nodes.add()
        run.completed()
        assert not before & {run.worker(rank) for rank in range(2)}, "nobody began again"
    ends_as(out, calm_of_two)
    in_mlflow(out, calm_of_two, local(runs))
    note.what = "went on from its last state without a restart"


@pytest.mark.cell("train", "MLflow server")
def test_mlflow(shards, calm, moment: Moment, note: Note, tmp_path, team: Team):
    tracked(team.mlflow, shards, calm, moment, note, tmp_path, team)


@pytest.mark.cell("train", "PostgreSQL under MLflow")
def test_postgres(shards, calm, moment: Moment, note: Note, tmp_path, team: Team):
    need_postgres()
    tracked(team.postgres, shards, calm, moment, note, tmp_path, team)


def tracked(victim, shards, calm, moment, note, tmp_path, team) -> None:
    """The victim is killed and comes back in mid-run, or after the run's end."""
    out, step = tmp_path / "out", step_of(moment, note)
    early = moment.one_of("early", "late") == "early"
    note.how = f"SIGKILL, back {'10 steps later' if early else 'after the end'}"
    env = {"FLASHLIPS_RUNS": str(tmp_path / "runs"), "FLASHLIPS_MLFLOW_URI": team.address}
    try:
        with Training(shards, out, **env) as run:
            run.reach(step)
            victim.stop(at_once=True)
            if early:
                run.reach(step + 10)
                victim.start()
            run.completed()
    finally:
        victim.start()
    with flashlips("tracking", "send", said=tmp_path / "send", **env) as send:
        send.completed()
    assert not list((tmp_path / "runs" / "tracking").glob("[!.]*/ops.jsonl"))
    note.what = "went on; " + ("caught up" if early else "'tracking send' sent the rest")
    ends_as(out, calm)
    in_mlflow(out, calm, team.address)


@pytest.mark.ray
@pytest.mark.cell("train", "S3 server in checkpointing")
def test_s3(shards, runs, request, moment: Moment, note: Note, tmp_path, s3):
    """Checkpoints are kept in a bucket whose server is killed; states may be missing, not the end.

    A server that stays away ends the run with a sentence; the rerun keeps the checkpoint.
    """
    out, step = tmp_path / "out", step_of(moment, note)
    variant = moment.one_of("early", "late", "early, two workers on Ray")
    early, workers = variant != "late", 2 if "Ray" in variant else 0
    calm = request.getfixturevalue("calm_of_two" if workers else "calm")
    note.how = f"SIGKILL, back {'10 steps later' if early else 'after the end'}"
    note.how += ", two workers on Ray" if workers else ""
    env = {**runs, "FLASHLIPS_S3_PATIENCE": "120" if early else "5"}
    kept = s3.folder / "data" / "bucket" / "kept"
    with Training(shards, out, workers, keep="s3://bucket/kept", **env) as run:
        run.reach(step)
        assert list(kept.glob("state/*/kept.json")), "no state was kept"
        s3.kill()
        if early:
            run.reach(step + 10)
            s3.start()
            run.completed()
            note.what = "went on and caught up"
        else:
            note.what = f"failed with: {run.refused()}; rerun completed"
            assert "is finished and whole, but it is not kept" in note.what
            s3.start()
    if not early:
        with Training(shards, out, keep="s3://bucket/kept", **env) as again:
            again.completed()
    ends_as(out, calm)
    in_mlflow(out, calm, local(runs))
    files = read_json(kept / "kept.json")["files"]
    assert files.keys() >= {"weights.safetensors", "card.json", "history.jsonl"}
    for name in files:
        assert (kept / name).read_bytes() == (out / name).read_bytes()
    assert not list(kept.glob("state/*/*")), "states were left"


@pytest.mark.ray
@pytest.mark.cell("train", "disk full")
def test_disk(shards, runs, calm, moment: Moment, note: Note, tmp_path):
    workers = int(moment.one_of("0", "1"))
    with small_disk(tmp_path / "small", 40 + 4 * moment.rng.randrange(10)) as disk:
        out = disk.folder / "out"
        note.how = disk.how + (", a worker on Ray" if workers else "")
        with Training(shards, out, workers, pause_s=0.05, **disk.env, **runs) as run:
            run.until(lambda: last_step(out) > STEPS // 4, ended=True)
            disk.fill()
            sentence = run.refused()
        note.when = f"after step {last_step(out)} of {STEPS}"
        assert "No space left on device" in sentence
        assert "make room" in sentence
        assert not (out / "card.json").exists()
        disk.grow()
        with Training(shards, out, pause_s=0.0, **disk.env, **runs) as again:
            again.completed()
        ends_as(out, calm)
        in_mlflow(out, calm, local(runs))
    note.what = f"failed with: {sentence}; rerun completed"
