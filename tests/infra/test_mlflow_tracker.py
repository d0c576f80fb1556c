"""The MLflow tracker on a real sqlite file: parents and children, batches, and failure."""

from __future__ import annotations

import logging
import pickle
import subprocess
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from core.errors import InputError
from infra import mlflow_client, mlflow_sender, revision
from infra.mlflow_tracker import MlflowTracker, attach, open_tracker, run_tags, send_spooled
from infra.settings import Settings
from infra.spool import Outbox
from infra.trackers import NullTracker, flatten


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(runs=tmp_path_factory.mktemp("tracking") / "runs")


@pytest.fixture(scope="module")
def client(where: Settings) -> mlflow.MlflowClient:
    return mlflow_client.connect(where.mlflow_uri, where.runs)


@pytest.fixture(scope="module")
def parent(where: Settings) -> MlflowTracker:
    run = open_tracker(where, "end_to_end", run_tags("flashlips", "all", "abc"))
    assert isinstance(run, MlflowTracker)
    run.flush()
    return run


@pytest.fixture
def away(monkeypatch):
    """A switch: MLflow takes nothing, or takes it and does not say so."""

    class Switch:
        mode = "well"

    for name in ("create_run", "log_batch", "set_tag", "log_artifact", "set_terminated"):
        whole = getattr(mlflow.MlflowClient, name)

        def call(*args, whole=whole, **named):
            if Switch.mode == "away":
                raise ConnectionError("server is gone")
            answer = whole(*args, **named)
            if Switch.mode == "mute":
                raise TimeoutError("no answer")
            return answer

        monkeypatch.setattr(mlflow.MlflowClient, name, call)
    return Switch


def spooled(where: Settings) -> list[Path]:
    return [p.parent for p in (where.runs / "tracking").glob("[!.]*/state.json")]


def test_a_child_run_holds_numbers_files_and_its_parent(parent, where, client, tmp_path):
    card = tmp_path / "card.json"
    card.write_text("{}")
    with parent.child("reconstruction", {"stage": "reconstruction"}) as run:
        run.params({"net": {"width": 96}, "steps": 3, "long": "x" * 9000})
        for step in range(3):
            run.metrics({"loss/l1": 1.0 - step / 4, "odd(name)": float("nan")}, step)
        run.artifact(card, "checkpoint")
        run.image("samples", np.zeros((4, 6, 3), np.uint8), 2)

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


def test_an_exception_marks_the_run_failed(parent, client):
    run = parent.child("breaks")
    with pytest.raises(RuntimeError), run:
        raise RuntimeError("boom")
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_a_run_goes_on_by_its_key_and_by_its_reference(parent, where, client):
    for key in (parent.ref.key, parent.run_id):  # older runs are known by MLflow's id alone
        again = open_tracker(where, "end_to_end", {"more": key}, resume=key)
        again.leave()
        assert again.run_id == parent.run_id
        found = client.get_run(parent.run_id)
        assert (found.info.status, found.data.tags["more"]) == ("RUNNING", key)
        assert found.data.tags["system"] == "flashlips"
    worker = attach(pickle.loads(pickle.dumps(parent.ref)))
    worker.metrics({"worker": 7.0}, 0)
    worker.leave()
    assert client.get_run(parent.run_id).data.metrics["worker"] == 7.0


def test_metrics_are_sent_in_batches(parent, monkeypatch):
    run, calls = parent.child("batches"), []
    run.flush()
    whole = mlflow.MlflowClient.log_batch

    def counted(self, run_id, metrics=(), params=()):
        calls.append(len(metrics))
        return whole(self, run_id, metrics=metrics, params=params)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", counted)
    for step in range(1200):
        run.metrics({"loss": 0.0}, step)
    run.flush()
    assert sum(calls) == 1200
    assert len(calls) <= 6  # the background may have cut one in two


@pytest.mark.parametrize("mode", ["away", "mute"])
def test_everything_arrives_once_and_in_order_however_mlflow_fails(
    mode, tmp_path, where, client, away, parent, monkeypatch
):
    """From the start to past the end; also when it takes things without saying so."""
    monkeypatch.setattr(mlflow_sender, "AGAIN_S", 0.05)
    away.mode = mode
    file = tmp_path / "a.txt"
    file.write_text("as it was")
    run = open_tracker(where, "lonely", {"stage": mode})
    run.params({"width": 8})
    with run.child("below") as child:
        child.metrics({"loss": 3.0}, 0)
    run.artifact(file, "notes")
    file.write_text("changed since")
    for step in range(50):
        run.metrics({"loss": float(step), "nan": float("nan")}, step)
        if step % 10 == 0:
            run.flush()
    run.close("FAILED")
    left = [path for path in spooled(where) if path == run._outbox.folder]
    assert left, "nothing could be sent"
    assert [why for _, why in send_spooled(where)] != [""]
    away.mode = "well"
    assert (left[0], "") in list(send_spooled(where))
    assert not left[0].exists()

    experiment = client.get_experiment_by_name("flashlips").experiment_id
    found = client.search_runs([experiment], f"tags.stage = '{mode}'")
    assert len(found) == 1
    (run_,) = found
    assert run_.info.status == "FAILED"
    assert run_.info.end_time - run_.info.start_time < 60_000, "times are those of the run"
    assert run_.data.params == {"width": "8"}
    history = client.get_metric_history(run_.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(s, float(s)) for s in range(50)]
    assert len(client.get_metric_history(run_.info.run_id, "nan")) == 50
    there = client.download_artifacts(run_.info.run_id, "notes/a.txt", str(tmp_path))
    assert Path(there).read_text() == "as it was"
    below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_.info.run_id}'")
    assert [(b.info.run_name, b.info.status) for b in below] == [("below", "FINISHED")]


def test_rows_sent_twice_are_kept_once(parent, client):
    from mlflow.entities import Metric

    run = parent.child("twice")
    run.flush()
    rows = [Metric("loss", float(i), 1000 + i, i) for i in range(4)]
    client.log_batch(run.run_id, metrics=rows[:3])
    client.log_batch(run.run_id, metrics=rows)
    assert [m.step for m in client.get_metric_history(run.run_id, "loss")] == [0, 1, 2, 3]


def test_the_next_run_in_the_folder_sends_what_the_last_one_left(where, client, away, parent):
    away.mode = "away"
    with open_tracker(where, "first", {"stage": "left"}) as run:
        run.metrics({"loss": 1.0}, 0)
    away.mode = "well"
    with open_tracker(where, "second"):
        pass
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    (found,) = client.search_runs([experiment], "tags.stage = 'left'")
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"loss": 1.0})


def test_a_job_that_ended_while_mlflow_was_away_has_ended(where, client, away, parent):
    """Each task opens the job's run again; what they left is sent after the job's own end."""
    away.mode = "away"
    job = open_tracker(where, "job", {"stage": "ended"})
    task = open_tracker(where, "job", resume=job.ref.key)
    task.child("task").close()
    task.leave()
    job.close()
    away.mode = "well"
    assert [why for _, why in send_spooled(where)] == ["", ""]
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    (found,) = client.search_runs([experiment], "tags.stage = 'ended'")
    assert found.info.status == "FINISHED"


def test_a_stage_whose_process_died_is_marked(where, client, parent):
    job = open_tracker(where, "job", {"stage": "died"})
    stage = job.child("stage", {"stage": "died below"})
    stage.metrics({"loss": 1.0}, 0)
    job.flush()
    job._background.stop()
    job._outbox._holder.close()  # what the system does at a process's end
    assert [why for _, why in send_spooled(where)] == [""]
    assert client.get_run(stage.run_id).info.status == "KILLED"
    assert client.get_run(job.run_id).info.status == "RUNNING", "it may go on in another process"
    assert list(send_spooled(where)) == []


def test_what_mlflow_refuses_holds_nothing_up(parent, where, client):
    run = open_tracker(where, "refused")
    run.params({"a": 1})
    run.params({"a": 2})
    run.metrics({"loss": 1.0}, 0)
    run.close()
    assert client.get_run(run.run_id).data.metrics == {"loss": 1.0}
    (line,) = (run._outbox.folder / "refused.jsonl").read_text().splitlines()
    assert '"a": "2"' in line


def test_an_unreachable_server_costs_training_nothing_and_is_told_once(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(mlflow_sender, "AGAIN_S", 0.01)
    where = Settings(runs=tmp_path / "runs", tracking="http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING, "infra"):
        run = open_tracker(where, "train")
        for step in range(1000):
            run.metrics({"loss": 0.0}, step)
        start = time.thread_time()
        for step in range(1000):
            run.metrics({"loss": 0.0, "lr": 1.0, "grad_norm": 2.0}, step)
        assert time.thread_time() - start < 1.0, "a thousand steps are more than a minute's"
        time.sleep(0.3)
        assert len([r for r in caplog.records if "trying again" in r.message]) <= 1
        run.close()
    assert "flashlips tracking send" in caplog.text
    (folder,) = spooled(where)
    box = Outbox(folder)
    assert len([op for op, _ in box.pending() if op["op"] == "metrics"]) == 2000


def test_another_address_waits_until_it_is_asked_for(tmp_path, where, parent, client):
    wrong = Settings(runs=where.runs, tracking="nonsense://nowhere")
    with open_tracker(wrong, "train", {"stage": "mistyped"}) as run:
        run.metrics({"loss": 1.0}, 5)
    assert list(send_spooled(where)) == []
    assert [why for _, why in send_spooled(where, everything=True)] == [""]
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    (found,) = client.search_runs([experiment], "tags.stage = 'mistyped'")
    assert found.data.metrics == {"loss": 1.0}


def test_a_folder_that_cant_be_written_stops_nobody(tmp_path, caplog):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tracking").write_text("a file")
    run = open_tracker(Settings(runs=tmp_path / "runs"), "train")
    run.metrics({"loss": 1.0}, 0)
    run.close()
    assert "no tracking" in caplog.text


def test_the_null_tracker_takes_everything():
    run = NullTracker()
    with run.child("x") as child:
        child.metrics({"a": 1.0}, 0)
        child.image("a", np.zeros((2, 2, 3), np.uint8), 0)
    run.leave()


def test_flatten_names_leaves_by_their_path():
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 2}]}) == {
        "a.b": 1,
        "a.c": [1, 2],
        "d.0.e": 2,
    }


def test_a_job_does_not_track_into_a_folder_that_goes_with_it(tmp_path):
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1" / "runs"
    with pytest.raises(InputError, match=r"FLASHLIPS_RUNS=.* name a folder that stays"):
        open_tracker(Settings(runs=folder), "trial")
    assert not folder.exists()


def test_without_a_checkout_the_settings_name_the_commit(monkeypatch, tmp_path):
    monkeypatch.delenv("FLASHLIPS_COMMIT", raising=False)
    monkeypatch.setattr(revision, "REPO", tmp_path)
    assert run_tags("s", "a", "r")["commit"] == ""
    monkeypatch.setenv("FLASHLIPS_COMMIT", "1" * 40 + "+")
    assert run_tags("s", "a", "r")["commit"] == "1" * 40 + "+"


def test_a_checkout_names_its_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("FLASHLIPS_COMMIT", "of an image")
    monkeypatch.setattr(revision, "REPO", tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("a")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *words], check=True)
    found = revision.git_commit()
    assert len(found) == 40
    (tmp_path / "file").write_text("b")
    assert revision.git_commit() == found + "+"
