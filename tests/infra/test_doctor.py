"""Doctor: every check with both outcomes, in real folders and against real little servers."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from core.errors import InputError
from core.storage import S3
from flows.cli import main
from infra import doctor, doctor_machine, doctor_services
from infra.doctor import Check, Row
from infra.services import free_port
from infra.settings import Settings


@contextmanager
def answering(pages: dict[str, str | int]) -> Iterator[str]:
    """A server with these pages: a text, or a status; others are not found."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            page = pages.get(self.path, 404)
            asked.append(self.headers.get("Authorization", ""))
            self.send_response(page if isinstance(page, int) else 200)
            self.end_headers()
            self.wfile.write(b"" if isinstance(page, int) else page.encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def one(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def nowhere() -> str:
    return f"127.0.0.1:{free_port()}"


# -- services -----------------------------------------------------------------------------------


def test_what_is_not_configured_is_fine(tmp_path):
    asked = Settings(runs=tmp_path)
    for check in (doctor_services.prefect, doctor_services.ray, doctor_services.s3):
        row = one(check(asked))
        assert (row.state, row.remedy) == ("ok", ""), row
    row = one(doctor_services.mlflow(asked))
    assert row.state == "ok"
    assert "made by the first run" in row.found


def test_mlflow_s_version_is_compared():
    with answering({"/version": metadata.version("mlflow")}) as address:
        row = one(doctor_services.mlflow(Settings(tracking=address)))
        assert row == Row("mlflow", "ok", f"{address}, version {metadata.version('mlflow')}")
    with answering({"/version": "1.2.3"}) as address:
        row = one(doctor_services.mlflow(Settings(tracking=address)))
        assert row.state == "warn"
        assert "1.2.3" in row.found


def test_a_server_that_wants_a_password_is_there():
    with answering({"/version": 401}) as address:
        row = one(doctor_services.mlflow(Settings(tracking=address)))
    assert row.state == "ok"
    assert "password" in row.found


def test_a_password_goes_to_the_server_and_not_into_the_row():
    with answering({"/version": metadata.version("mlflow")}) as address:
        row = one(
            doctor_services.mlflow(Settings(tracking=address.replace("://", "://someone:hush@")))
        )
    assert row.state == "ok"
    assert "hush" not in row.found


@pytest.mark.parametrize("page", [500, 404])
def test_mlflow_that_fails_is_broken(page):
    with answering({"/version": page}) as address:
        assert one(doctor_services.mlflow(Settings(tracking=address))).state == "broken"


def test_services_that_are_not_there_are_broken_and_name_their_variable():
    asked = Settings(
        tracking=f"http://someone:hush@{nowhere()}", prefect_api=f"http://{nowhere()}/api",
        cluster=nowhere(), s3=S3(f"http://{nowhere()}"),
    )  # fmt: skip
    for check, variable in (
        (doctor_services.mlflow, "FLASHLIPS_MLFLOW_URI"),
        (doctor_services.prefect, "PREFECT_API_URL"),
        (doctor_services.ray, "RAY_ADDRESS"),
        (doctor_services.s3, "FLASHLIPS_S3_ENDPOINT"),
    ):
        row = one(check(asked))
        assert row.state == "broken", row
        assert variable in row.remedy
        assert "hush" not in row.found


def test_mlflow_s_file_is_opened(tmp_path):
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table runs (id text)")
        database.execute("insert into runs values ('a')")
        database.commit()
    row = one(doctor_services.mlflow(Settings(runs=tmp_path)))
    assert row.state == "ok"
    assert "1 runs" in row.found
    path.write_bytes(b"no database" * 1000)
    row = one(doctor_services.mlflow(Settings(runs=tmp_path)))
    assert row.state == "broken"


def test_a_database_that_is_away_is_broken():
    pytest.importorskip("psycopg")
    row = one(doctor_services.mlflow(Settings(tracking=f"postgresql://a:hush@{nowhere()}/b")))
    assert row.state == "broken"
    assert "hush" not in row.found


@pytest.mark.parametrize(
    ("pools", "state"), [("READY", "ok"), ("NOT_READY", "warn"), (None, "warn")]
)
def test_prefect_wants_a_worker_that_waits(pools, state):
    listed = [{"name": "local", "status": pools}] if pools else []
    pages = {
        "/api/admin/version": json.dumps(metadata.version("prefect")),
        "/api/work_pools/filter": json.dumps(listed),
    }
    with answering(pages) as address:
        server, worker = doctor_services.prefect(Settings(prefect_api=f"{address}/api"))
    assert server.state == "ok"
    assert worker.state == state
    assert bool(worker.remedy) == (state == "warn")


def test_ray_listens_or_tells_its_version():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
            assert one(doctor_services.ray(Settings(cluster=address))).state == "ok"
    said = json.dumps({"ray_version": metadata.version("ray"), "ray_commit": "a"})
    with answering({"/api/version": said}) as address:
        row = one(doctor_services.ray(Settings(cluster=address)))
    assert (row.state, metadata.version("ray") in row.found) == ("ok", True)


def test_a_bucket_is_written_read_and_left_as_it_was(s3):
    asked = Settings(s3=S3(s3.endpoint, 1.0, s3.folder / "work"), bucket="bucket")
    row = one(doctor_services.s3(asked))
    assert row.state == "ok", row
    assert not list((s3.folder / "data" / "bucket").iterdir())
    # Without a bucket there is nothing to write to, and a server that answers.
    row = one(doctor_services.s3(replace(asked, bucket="")))
    assert (row.state, "FLASHLIPS_BUCKET" in row.remedy) == ("ok", True)


def test_a_wrong_bucket_or_key_is_broken(s3, monkeypatch):
    asked = Settings(s3=S3(s3.endpoint, 1.0, s3.folder / "work"), bucket="another")
    row = one(doctor_services.s3(asked))
    assert row.state == "broken"
    assert "make it first" in row.remedy
    from core import storage

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage._filesystem.cache_clear()
    row = one(doctor_services.s3(replace(asked, bucket="bucket")))
    assert row.state == "broken"
    assert "AWS_SECRET_ACCESS_KEY" in row.remedy


# -- this machine -------------------------------------------------------------------------------


def test_a_misspelt_variable_warns(monkeypatch):
    for name in ("FLASHLIPS_WORKRES", "FLASHLIPS_SHARED"):
        monkeypatch.delenv(name, raising=False)
    assert one(doctor_machine.variables(Settings())).state == "ok"
    monkeypatch.setenv("FLASHLIPS_WORKRES", "2")
    row = one(doctor_machine.variables(Settings()))
    assert row.state == "warn"
    assert "FLASHLIPS_WORKERS" in row.found


def test_weights_are_hashed(tmp_path, store):
    file = store.locate("face_landmark")
    copy = tmp_path / file.name
    shutil.copyfile(file, copy)
    asked = Settings(weights=(tmp_path,))
    rows = {row.name: row for row in doctor_machine.weights(asked)}
    assert "1 of" in rows["weights"].found
    missing = rows["weight face_detection_short_range"]
    assert (missing.state, "weights fetch" in missing.remedy) == ("missing", True)
    changed = bytearray(copy.read_bytes())
    changed[100] ^= 1
    copy.write_bytes(changed)
    rows = {row.name: row for row in doctor_machine.weights(asked)}
    assert rows["weight face_landmark"].state == "broken"
    assert "delete it" in rows["weight face_landmark"].remedy
    assert doctor_machine.weights_limit_s(asked) > doctor.LIMIT_S


def test_a_gpu_is_optional_and_one_that_torch_does_not_see_warns(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor_machine, "_driver", lambda: "")
    assert one(doctor_machine.gpu(Settings())) == Row("gpu", "ok", "none: CPU")
    monkeypatch.setattr(doctor_machine, "_driver", lambda: "570.1")
    row = one(doctor_machine.gpu(Settings()))
    assert (row.state, "index" in row.remedy) == ("warn", True)


@pytest.mark.gpu
def test_a_gpu_is_described():
    row = doctor_machine.gpu(Settings())[0]
    assert (row.name, row.state) == ("gpu 0", "ok")
    assert "GB free" in row.found
    assert "driver unknown" not in row.found


def test_disks_want_room_and_leave_to_write(tmp_path, monkeypatch):
    asked = Settings(runs=tmp_path / "runs", s3=S3(work=tmp_path / "work"))
    assert {row.name for row in doctor_machine.disk(asked)} == {"disk runs", "disk work"}
    monkeypatch.setattr(doctor_machine, "LEAST_DISK_GB", 0.0)
    assert {row.state for row in doctor_machine.disk(asked)} == {"ok"}
    monkeypatch.setattr(doctor_machine, "LEAST_DISK_GB", 1e9)
    rows = doctor_machine.disk(replace(asked, frame_cache=tmp_path))
    assert [row.state for row in rows] == ["warn"] * 3
    assert "FLASHLIPS_RUNS" in rows[0].remedy
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert {row.state for row in doctor_machine.disk(asked)} == {"broken"}


def test_packages_are_those_that_were_tested_together():
    ours = {"numpy": metadata.version("numpy"), "nobody-s-package": "1"}
    assert one(doctor_machine.versions(ours, ["numpy"])).state == "ok"
    row = one(doctor_machine.versions(ours | {"torch": "0.1"}, ["numpy"]))
    assert (row.state, "tested: 0.1" in row.found) == ("warn", True)
    row = one(doctor_machine.versions(ours, ["numpy", "nobody-s-package"]))
    assert (row.state, "nobody-s-package" in row.found) == ("broken", True)
    assert one(doctor_machine.packages(Settings())).state in ("ok", "warn")


def test_little_shared_memory_warns(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_machine, "SHM", tmp_path)
    usage = namedtuple("usage", "total used free")  # as shutil has it
    for size, state in ((64e6, "warn"), (64e9, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, size=size: usage(size, 0, size))
        assert one(doctor_machine.shared_memory(Settings())).state == state
    monkeypatch.setattr(doctor_machine, "SHM", tmp_path / "none")
    assert one(doctor_machine.shared_memory(Settings())).state == "ok"


# -- the whole ----------------------------------------------------------------------------------


def test_a_server_that_swallows_questions_holds_nobody():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        asked = Settings(tracking=address, prefect_api=f"{address}/api", s3=S3(address))
        began = time.monotonic()
        rows = doctor.diagnose(asked, ("mlflow", "prefect", "s3"))
        took = time.monotonic() - began
    assert {row.state for row in rows} == {"broken"}
    assert took < 3 * doctor.LIMIT_S, took


def test_a_check_that_hangs_or_fails_is_a_row():
    hung = threading.Event()
    chosen = {
        "hangs": Check(lambda settings: [Row("never", "ok", str(hung.wait()))], (), 0.1, "warn"),
        "fails": Check(lambda settings: [Row("never", "ok", str(1 / 0))]),
        "fine": Check(lambda settings: [Row("fine", "ok", "here")], ("no_such_module",)),
    }
    rows = doctor.run(chosen, Settings())
    hung.set()
    assert [(row.name, row.state) for row in rows] == [
        ("hangs", "warn"), ("fails", "broken"), ("fine", "ok"),
    ]  # fmt: skip
    assert "ZeroDivisionError" in rows[1].found


def test_the_exit_code_says_whether_something_configured_is_broken(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["doctor", "--only", "ray,mlflow"]) == 0
    assert "none: a run starts a Ray" in capsys.readouterr().out
    monkeypatch.setenv("RAY_ADDRESS", nowhere())
    assert main(["doctor", "--only", "ray,mlflow", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"]) for row in rows] == [("mlflow", "ok"), ("ray", "broken")]
    assert all(row["remedy"] for row in rows if row["state"] == "broken")
    assert main(["doctor", "--only", "cheese"]) == 2


def test_missing_weights_alone_are_no_failure(tmp_path):
    rows = doctor.diagnose(Settings(weights=(Path(tmp_path),)), ("weights",))
    assert {row.state for row in rows} == {"missing"}
    assert all(row.remedy for row in rows)
    assert doctor.well(rows)
    with pytest.raises(InputError, match="no check"):
        doctor.diagnose(Settings(), ("cheese",))
