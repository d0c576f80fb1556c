"""The MLflow tracker on a real sqlite file: parents and children, batches, and failure."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from infra.mlflow_tracker import MlflowTracker, attach, git_commit, open_tracker, run_tags
from infra.settings import Settings
from infra.trackers import JsonlTracker, NullTracker, flatten


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(runs=tmp_path_factory.mktemp("tracking") / "runs")


@pytest.fixture(scope="module")
def parent(where: Settings) -> MlflowTracker:
    run = open_tracker(where, "end_to_end", run_tags("flashlips", "all", "abc"))
    assert isinstance(run, MlflowTracker)
    return run


def test_a_child_run_holds_numbers_files_and_its_parent(parent, where, tmp_path):
    card = tmp_path / "card.json"
    card.write_text("{}")
    with parent.child("reconstruction", {"stage": "reconstruction"}) as run:
        run.params({"net": {"width": 96}, "steps": 3, "long": "x" * 9000})
        for step in range(3):
            run.metrics({"loss/l1": 1.0 - step / 4, "odd(name)": float("nan")}, step)
        run.artifact(card, "checkpoint")
        run.image("samples", np.zeros((4, 6, 3), np.uint8), 2)

    client = run._client
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["mlflow.parentRunId"] == parent.run_id
    assert found.data.tags["stage"] == "reconstruction"
    assert found.data.params["net.width"] == "96"
    history = client.get_metric_history(run.run_id, "loss/l1")
    assert [(m.step, m.value) for m in history] == [(0, 1.0), (1, 0.75), (2, 0.5)]
    assert [f.path for f in client.list_artifacts(run.run_id, "checkpoint")] == [
        "checkpoint/card.json"
    ]
    assert [f.path for f in client.list_artifacts(run.run_id, "images")] == [
        "images/samples_0000002.png"
    ]
    assert {f.path for f in client.list_artifacts(run.run_id)} >= {"recipe.json"}
    assert str(where.artifacts) in found.info.artifact_uri.replace("file://", "")


def test_an_exception_marks_the_run_failed(parent):
    run = parent.child("breaks")
    with pytest.raises(RuntimeError), run:
        raise RuntimeError("boom")
    assert parent._client.get_run(run.run_id).info.status == "FAILED"


def test_a_run_goes_on_by_its_id_and_by_its_reference(parent, where):
    again = open_tracker(where, "end_to_end", resume=parent.run_id)
    assert again.run_id == parent.run_id
    worker = attach(pickle.loads(pickle.dumps(parent.ref)))
    worker.metrics({"worker": 7.0}, 0)
    worker.flush()
    assert parent._client.get_run(parent.run_id).data.metrics["worker"] == 7.0


def test_metrics_are_sent_in_batches(parent, monkeypatch):
    run = parent.child("batches")
    calls = []
    monkeypatch.setattr(
        run._client, "log_batch", lambda run_id, metrics=(), params=(): calls.append(len(metrics))
    )
    for step in range(1200):
        run.metrics({"loss": 0.0}, step)
    run.flush()
    assert sum(calls) == 1200
    assert len(calls) <= 4


def test_a_failing_server_is_logged_once_spooled_and_caught_up(parent, monkeypatch, caplog):
    run = parent.child("fails")
    spool = Path(run.ref.spool)
    whole = run._client.log_batch

    def refuse(*args, **named):
        raise ConnectionError("server is gone")

    monkeypatch.setattr(run._client, "log_batch", refuse)
    with caplog.at_level(logging.WARNING, "infra.mlflow_tracker"):
        for step in range(3):
            run.metrics({"loss": float(step)}, step)
            run.flush()
    assert len([r for r in caplog.records if "server is gone" in r.message]) == 1
    assert [json.loads(line)["loss"] for line in spool.read_text().splitlines()] == [0.0, 1.0, 2.0]

    monkeypatch.setattr(run._client, "log_batch", whole)
    run.close()
    assert [m.value for m in whole.__self__.get_metric_history(run.run_id, "loss")] == [0, 1, 2]
    assert not spool.exists()


def test_no_mlflow_at_all_falls_back_to_files(tmp_path, caplog):
    where = Settings(runs=tmp_path / "runs", tracking="nonsense://nowhere")
    run = open_tracker(where, "train", {"stage": "codec"})
    assert isinstance(run, JsonlTracker)
    assert "nonsense://nowhere" in caplog.text
    with run.child("stage") as child:
        child.metrics({"loss": 1.0, "bad": float("inf")}, 5)
        child.text("hello", "notes/a.txt")
    line = json.loads((child.folder / "metrics.jsonl").read_text())
    assert (line["step"], line["loss"], line["bad"]) == (5, 1.0, None)
    assert (child.folder / "artifacts/notes/a.txt").read_text() == "hello"


def test_the_null_tracker_takes_everything():
    run = NullTracker()
    with run.child("x") as child:
        child.metrics({"a": 1.0}, 0)
        child.image("a", np.zeros((2, 2, 3), np.uint8), 0)


def test_flatten_names_leaves_by_their_path():
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 2}]}) == {
        "a.b": 1,
        "a.c": [1, 2],
        "d.0.e": 2,
    }


def test_the_commit_is_a_hash_or_nothing():
    commit = git_commit().rstrip("+")
    assert commit == "" or len(commit) == 40
