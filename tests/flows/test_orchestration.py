"""What flows share of Prefect, without any server; and what a worker takes for alive."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from prefect.states import Failed

from core.errors import InputError
from core.files import write_json
from core.shards import Manifest, write_manifest, write_shard
from flows import orchestration, preprocess, worker
from flows.artifacts import contact_sheet, reasons, show_text


def test_a_persons_error_ends_a_flow_with_its_sentence():
    @orchestration.plainly
    def function(a: int) -> int:
        raise InputError(f"no {a}; give another")

    ended = function(7)
    assert ended.is_failed()
    assert ended.message == "no 7; give another"
    assert isinstance(ended.data, InputError)


def test_our_own_errors_stay_loud():
    @orchestration.plainly
    def function() -> int:
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        function()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionError("the cluster is away"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (InputError("no such folder"), False),
        (ZeroDivisionError(), False),
    ],
)
def test_only_lost_connections_are_tried_again(error, again):
    assert orchestration.lost_connection(None, None, Failed(data=error)) is again


def test_what_a_person_must_mend_is_not_tried_again_even_if_a_wire_caused_it():
    error = InputError("no answer from s3; check the address")
    error.__cause__ = ConnectionError()
    assert not orchestration.lost_connection(None, None, Failed(data=error))


def test_the_log_has_no_traceback_of_a_persons_error():
    kept = []
    for error in (InputError("no"), KeyError("ours")):
        record = logging.makeLogRecord({"exc_info": (type(error), error, None)})
        assert orchestration.OneSentence().filter(record)
        kept.append(record.exc_info is not None)
    assert kept == [False, True]


def test_a_cached_output_counts_only_while_it_is_there_unchanged(tmp_path):
    calls = []

    class Cached:
        """A task whose result is cached from its first call on."""

        def __call__(self, folder):
            return made if calls else self.with_options(True)(folder)

        def with_options(self, refresh_cache):
            def run(folder):
                calls.append(folder)
                write_json(folder / "manifest.json", {"made": len(calls)})
                return orchestration.reference(folder / "manifest.json")

            return run

    task = Cached()
    path = orchestration.once(task, tmp_path)
    made = orchestration.reference(path)
    orchestration.once(task, tmp_path)
    assert len(calls) == 1
    path.unlink()
    orchestration.once(task, tmp_path)
    assert len(calls) == 2, "the output was gone"
    write_json(path, {"made": "by another recipe"})
    orchestration.once(task, tmp_path)
    assert len(calls) == 3, "the output was another one"


def test_shards_have_one_key_for_each_recipe_source_and_place(tmp_path, video, cheap):
    source = video(tmp_path / "raw" / "a.mp4").parent
    recipe = "cheap_chain:cheap"

    def key(out="out", overrides=()):
        return preprocess.work_key("folder", str(source), str(tmp_path / out), recipe, overrides)

    first = key()
    assert key() == first
    others = [key("elsewhere"), key(overrides=("segment_s=2.0",))]
    video(tmp_path / "raw" / "b.mp4", seed=1)
    others.append(key())
    assert len({first, *others}) == 4


def test_nothing_waits_for_a_gpu_where_there_is_none(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(orchestration, "concurrency", None)  # asking for a slot would raise
    with orchestration.gpu(), orchestration.gpu("ray"):
        pass


def test_the_ledger_is_counted_by_outcome_and_reason():
    cut, part = "InputError: a.mp4 is cut off", [{"kind": "rejected", "step": "face", "reason": ""}]
    rows = [
        {"outcome": outcome, "step": step, "reason": reason, "dropped": json.dumps(dropped)}
        for outcome, step, reason, dropped in [
            ("ok", "", "", part), ("rejected", "length", "too short", []),
            ("rejected", "length", "too short", []), ("failed", "read", cut, []),
        ]
    ]  # fmt: skip
    assert [tuple(row.values()) for row in reasons(rows)] == [
        ("kept", "", 1, ""),
        ("rejected", "length: too short", 2, ""),
        ("failed", "read: InputError", 1, cut),
    ]


def test_samples_are_shown_on_one_small_sheet(tmp_path):
    crop = np.zeros((3, 16, 16, 3), np.uint8)
    rows = [{"key": f"{i}", "info": {}, "crop": crop} for i in range(20)]
    write_manifest(tmp_path, Manifest({}, [write_shard(tmp_path / "s.tar", rows)], {}))
    sheet = contact_sheet(tmp_path)
    assert sheet.startswith("data:image/jpeg;base64,")
    assert len(sheet) < 50_000


def test_what_cannot_be_shown_fails_nothing(caplog):
    show_text("Not A Key", "text")  # Prefect wants small letters, digits and dashes
    assert "can't be shown" in caplog.text


def test_a_worker_is_alone_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held = worker.alone("a")
    worker.alone("b")
    with pytest.raises(InputError, match="a worker a runs on this machine"):
        worker.alone("a")
    os.close(held)
    worker.alone("a")


def test_a_run_lives_as_long_as_its_own_process():
    sleep = "import time; time.sleep(60)"
    words = [["-c", sleep, "prefect.engine"], ["-c", sleep]]  # its engine; something it started
    family = [
        subprocess.Popen([sys.executable, *w], env={**os.environ, worker.RUN_ID: f"run-{i}"})
        for i, w in enumerate(words)
    ]
    try:
        assert worker.living() & {"run-0", "run-1"} == {"run-0"}
        family[0].kill()
        family[0].wait()
        assert not worker.living() & {"run-0", "run-1"}
    finally:
        for process in family:
            process.kill()
            process.wait()
