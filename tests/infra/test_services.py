"""Services: started and ended by their own ids, together as a team; no data and nobody is lost."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from core.errors import InputError
from core.files import write_bytes
from flows.cli import main
from infra import doctor, stack, team
from infra.addresses import Ports
from infra.mlflow_tracker import MlflowTracker, open_tracker
from infra.services import Process, Service, free_port, is_open
from infra.settings import Settings, settings
from infra.team import Team
from tests.servers import need_postgres

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


def pages(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))


@pytest.fixture
def running():
    """Processes that are ended whatever becomes of the test."""
    made: list[Process] = []
    yield made
    for process in made:
        process.stop(at_once=True)


def test_a_service_starts_once_and_another_program_can_end_it(tmp_path, running):
    port = free_port()
    first = Process(Service("pages", pages(port), port, health="/"), tmp_path)
    running.append(first)
    pid = first.start().pid
    assert pid
    assert first.ready
    again = Process(Service("pages", pages(port), port, health="/"), tmp_path)
    assert again.start().pid == pid
    assert Process(Service("pages", ()), tmp_path).stop()
    assert not is_open(port)
    assert again.pid == 0
    assert not again.stop(), "there is nothing left to end"
    assert "GET" in (tmp_path / "pages.log").read_text()


def test_a_port_that_another_program_has_is_left_to_it(tmp_path, running):
    port = free_port()
    other = Process(Service("other", pages(port), port), tmp_path)
    running.append(other)
    other.start()
    with pytest.raises(InputError, match="taken by another program"):
        Process(Service("ours", pages(port), port), tmp_path).start()
    assert other.ready


def test_one_that_ends_or_never_answers_says_where_its_words_are(tmp_path, running):
    bad = (sys.executable, "-c", "import sys; sys.exit('no such thing')")
    with pytest.raises(InputError, match=r"ended with code 1: no such thing.*bad\.log"):
        Process(Service("bad", bad, free_port()), tmp_path).start()
    mute = Process(Service("mute", SLEEP, free_port(), patience_s=0.5), tmp_path)
    running.append(mute)
    with pytest.raises(InputError, match=r"did not answer in 0\.5 s"):
        mute.start()


def test_all_below_it_end_and_nobody_else(tmp_path, running):
    code = (
        "import subprocess, sys, time; "
        f"p = subprocess.Popen({list(SLEEP)!r}); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = Process(Service("parent", (sys.executable, "-c", code)), tmp_path)
    neighbour = Process(Service("neighbour", SLEEP), tmp_path)
    running += [parent, neighbour]
    neighbour.start()
    for killed_first in (False, True):
        parent.start()
        child = child_of(parent)
        if killed_first:  # its child lives on, and only its session tells whose it was
            os.kill(parent.pid, signal.SIGKILL)
            gone(parent)
            assert psutil.pid_exists(child)
        assert parent.stop()
        assert not alive(child)
    assert neighbour.pid


def child_of(parent: Process) -> int:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = psutil.Process(parent.pid).children()
        if found:
            return found[0].pid
        time.sleep(0.05)
    raise AssertionError("no child came")


def gone(process: Process) -> None:
    end = time.monotonic() + 20
    while process.pid and time.monotonic() < end:
        time.sleep(0.05)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_number_that_another_process_got_is_not_ours(tmp_path):
    (tmp_path / "old.pid").write_text(f'{{"pid": {os.getpid()}, "began": 12.0, "polite_s": 9}}')
    old = Process(Service("old", SLEEP), tmp_path)
    assert old.pid == 0
    old.stop()  # and this very test goes on
    (tmp_path / "old.pid").write_text("damaged")
    assert old.pid == 0


# -- a team -------------------------------------------------------------------------------------


@pytest.fixture
def runs():
    """A folder that PostgreSQL's user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="flashlips-team-"))
    folder.chmod(0o755)
    asked = Settings(runs=folder, ports=free_ports())
    yield asked
    Team(asked).down(lambda line: None)
    shutil.rmtree(folder)


def free_ports() -> Ports:
    # A Ray head takes the port after its dashboard's as well.
    names = ("s3", "postgres", "mlflow", "prefect", "ray", "dashboard")
    return Ports(**{name: free_port() for name in names})


def modes(folder: Path) -> dict[str, int]:
    return {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir() if p.is_file()}


def variables(path: Path) -> dict[str, str]:
    pairs = [shlex.split(line)[1].split("=", 1) for line in path.read_text().splitlines()]
    return dict(pairs)


def test_services_start_after_those_they_need():
    waves = team._waves(list(team.NEEDS))
    placed = {name: i for i, wave in enumerate(waves) for name in wave}
    assert set(placed) == set(team.NEEDS)
    for name, needed in team.NEEDS.items():
        assert all(placed[other] < placed[name] for other in needed)
    assert all(set(team.HARD[name]) <= set(team.NEEDS[name]) for name in team.HARD)


def test_up_is_idempotent_and_down_keeps_data_and_credentials(runs, monkeypatch):
    need_postgres()
    ours, said = Team(runs), []
    rows = ours.up(("s3", "postgres"), said.append)
    assert [(row.name, bool(row.pid), row.trouble) for row in rows] == [
        ("s3", True, ""), ("postgres", True, ""),
    ]  # fmt: skip
    folder = ours.folder
    assert {"secrets.json": 0o600, "env": 0o600, "ray_token": 0o600}.items() <= modes(
        folder
    ).items()
    found = variables(ours.env_file)
    secrets = ours.secrets
    assert found["AWS_SECRET_ACCESS_KEY"] == secrets["s3_secret"]
    assert not [s for s in secrets.values() if s in "".join([*said, *map(str, rows)])]
    commands = " ".join(" ".join(psutil.Process(row.pid).cmdline()) for row in rows)
    assert not [s for s in secrets.values() if s in commands], "everybody may read a command line"

    for name, value in found.items():
        monkeypatch.setenv(name, value)
    from core import storage

    storage._filesystem.cache_clear()
    assert (settings().bucket, settings().s3.endpoint) == (stack.BUCKET, rows[0].address)
    kept = settings().place(f"s3://{stack.BUCKET}/kept.txt")
    write_bytes(kept, b"kept")
    with pytest.raises(Exception, match="password"):
        connect(runs.ports.postgres, "wrong")
    with connect(runs.ports.postgres, secrets["postgres_password"]) as database:
        database.execute("create table kept (id int)")

    again = Team(runs).up(("s3", "postgres"), said.append)
    assert [row.pid for row in again] == [row.pid for row in rows]
    assert said == ["s3: starting", "postgres: starting"] or said == [
        "postgres: starting", "s3: starting",
    ]  # fmt: skip

    assert Team(runs).down(said.append) == ["postgres", "s3"]
    assert not [row for row in rows if alive(row.pid)]
    assert not ours.env_file.exists()
    assert Team(runs).down(said.append) == []

    Team(runs).up(("s3", "postgres"), said.append)
    assert Team(runs).secrets == secrets
    assert kept.read_bytes() == b"kept"
    with connect(runs.ports.postgres, secrets["postgres_password"]) as database:
        assert database.execute("select count(*) from kept").fetchone() == (0,)


def connect(port: int, password: str):
    import psycopg

    return psycopg.connect(
        host="127.0.0.1", port=port, user=stack.POSTGRES, password=password, connect_timeout=5
    )


def test_a_failure_leaves_what_runs_and_says_what_to_do(runs, running, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")  # no PostgreSQL
    other = Process(Service("other", pages(runs.ports.s3), runs.ports.s3), runs.runs)
    running.append(other)
    other.start()
    said: list[str] = []
    rows = {row.name: row for row in Team(runs).up(("mlflow",), said.append)}
    assert "not installed, so MLflow keeps its runs in a file" in said[0]
    assert set(rows) == {"s3", "mlflow"}, "mlflow needs a storage"
    assert "taken by another program" in rows["s3"].trouble
    assert rows["mlflow"].trouble.startswith("waits for s3")
    assert Team(runs).running() == []
    assert other.ready

    monkeypatch.setenv("FLASHLIPS_RUNS", str(runs.runs))
    monkeypatch.setenv("FLASHLIPS_PORTS", str(runs.ports))
    assert main(["up", "--only", "s3"]) == 1
    assert "s3: port" in capsys.readouterr().out
    other.stop()
    assert main(["up", "--only", "s3"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["service", "address", "pid", "log"]
    assert shown[1].split()[:2] == ["s3", f"http://127.0.0.1:{runs.ports.s3}"]
    assert shown[-1].startswith("source ")
    assert main(["down"]) == 0
    assert "1 services ended" in capsys.readouterr().out
    assert main(["up", "--only", "cheese"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_team_is_up_works_and_is_gone(runs, monkeypatch):
    ours = Team(runs)
    rows = ours.up((), lambda line: None)
    assert not [row.trouble for row in rows if row.trouble]
    names = [row.name for row in rows]
    assert names == [n for n in team.NEEDS if n != "postgres" or stack.has_postgres()]
    family = [child for row in rows for child in psutil.Process(row.pid).children(recursive=True)]
    server = psutil.Process(next(row.pid for row in rows if row.name == "mlflow"))
    assert not [c for c in server.children(recursive=True) if "jobs" in " ".join(c.cmdline())]

    from core import storage

    for name, value in variables(ours.env_file).items():
        monkeypatch.setenv(name, value)
    storage._filesystem.cache_clear()
    found = {
        row.name: row for row in doctor.diagnose(settings(), ("mlflow", "prefect", "s3", "ray"))
    }
    assert {row.state for row in found.values()} == {"ok"}, found
    assert "prefect worker" in found

    run = open_tracker(settings(), "trial")
    assert isinstance(run, MlflowTracker)
    run.text("kept", "note.txt")
    run.close()
    assert list((ours.folder / "s3" / stack.BUCKET / "mlflow").rglob("note.txt"))
    with urllib.request.urlopen(
        f"http://127.0.0.1:{runs.ports.prefect}/ui-settings", timeout=30
    ) as answer:  # the pages must ask this server, not the usual port's
        assert f":{runs.ports.prefect}/api" in answer.read().decode()
    listed = subprocess.run(
        [stack.program("ray", ""), "job", "list"], capture_output=True, text=True, timeout=120
    )
    assert listed.returncode == 0, listed.stderr
    code = (
        "import ray; ray.init(logging_level='ERROR'); "
        "print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert asked.stdout.strip() == "42"

    ours.down(lambda line: None)
    assert not [row.name for row in rows if alive(row.pid)]
    assert not [child for child in family if alive(child.pid)]
    assert not ours.env_file.exists()
