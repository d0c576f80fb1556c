"""The outbox: what was added is there after any end of the process, once, in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from infra.spool import InUse, Outbox, left


def numbers(box: Outbox) -> list[int]:
    return [op["n"] for op, _ in box.pending()]


def test_what_is_acknowledged_is_not_pending_again(tmp_path):
    box = Outbox.create(tmp_path, "here")
    for n in range(5):
        box.add({"n": n})
    ends = [end for _, end in box.pending()]
    box.done(ends[2], {"run": "id"})
    assert numbers(box) == [3, 4]
    box.close()
    (again,) = left(tmp_path)
    assert again.state["memory"] == {"run": "id"}
    assert again.state["address"] == "here"


def test_one_process_at_a_time_and_gone_when_all_is_sent(tmp_path):
    box = Outbox.create(tmp_path, "here")
    box.add({"n": 0})
    with pytest.raises(InUse):
        Outbox(box.folder)
    assert list(left(tmp_path)) == []
    box.close()
    (again,) = (other for other in left(tmp_path) if numbers(other) == [0])
    assert again.folder.exists()
    box = Outbox(again.folder)
    box.done(next(box.pending())[1], {})
    box.close()
    assert list(tmp_path.iterdir()) == []


def test_older_outboxes_come_first_and_refused_ones_stay(tmp_path):
    for n in range(3):
        box = Outbox.create(tmp_path, "here")
        box.add({"n": n})
        box.close()
    for box in left(tmp_path):
        for op, end in box.pending():
            if op["n"] == 1:
                box.refuse(op, "never")
            box.done(end, {})
    (stays,) = tmp_path.iterdir()
    assert '"n": 1' in (stays / "refused.jsonl").read_text()


def test_files_are_copied_as_they_were(tmp_path):
    box, file = Outbox.create(tmp_path / "box", "here"), tmp_path / "a.txt"
    file.write_text("first")
    kept = box.add_file(file)
    file.write_text("second")
    assert (box.folder / kept).read_text() == "first"
    assert (box.folder / kept).name == "a.txt"
    box.drop_file(kept)
    assert not (box.folder / kept).exists()


def test_half_a_line_of_a_dead_process_is_passed_over(tmp_path):
    box = Outbox.create(tmp_path, "here")
    box.add({"n": 0})
    box.close()
    with (box.folder / "ops.jsonl").open("a") as file:
        file.write('{"n": 1')
    (again,) = (Outbox(other.folder) for other in [box])
    assert numbers(again) == [0]
    again.add({"n": 2})
    assert numbers(again) == [0, 2]


def test_a_full_disk_loses_only_what_did_not_fit(tmp_path, monkeypatch):
    box, write = Outbox.create(tmp_path, "here"), os.write
    box.add({"n": 0})
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:4]))
    with pytest.raises(OSError, match="4 of 9 bytes"):
        box.add({"n": 1})
    monkeypatch.setattr(os, "write", write)
    box.add({"n": 2})
    assert numbers(box) == [0, 2]


def test_kill_9_keeps_every_added_line(tmp_path):
    code = (
        "import sys; from pathlib import Path; from infra.spool import Outbox\n"
        "box = Outbox.create(Path(sys.argv[1]), 'here')\n"
        "for n in range(10**9):\n"
        "    box.add({'n': n}); print(n, flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    for line in run.stdout:
        if int(line) == 200:
            break
    run.send_signal(signal.SIGKILL)
    run.wait()
    told = 200 + len(run.stdout.read().splitlines())
    (box,) = (Outbox(path) for path in tmp_path.iterdir())
    found = numbers(box)
    assert found == list(range(len(found)))
    assert len(found) > told
