"""``flashlips submit`` without a cluster: what is sent, what is refused, how a job is followed."""

from __future__ import annotations

import asyncio
import shlex
import signal
from contextlib import suppress
from types import SimpleNamespace

import pytest

from core.errors import InputError
from flows import submit as verb
from flows.cli import main
from infra import ray_jobs
from infra.ray_jobs import Ended, Jobs

URL = "http://head:8265"


class Cluster:
    """A cluster in place of the real one (tests/integration/test_ray_submit.py has that)."""

    said = ("Running\n", "step 1\nstep 2\n")
    ended = Ended("SUCCEEDED", 0, "")

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        Cluster.last, self.token = self, token

    def submit(self, entrypoint, folder, excludes, variables):
        self.sent = SimpleNamespace(
            words=shlex.split(entrypoint), folder=folder, excludes=excludes, variables=variables
        )
        return "raysubmit_1"

    def follow(self, job, write):
        for text in self.said:
            write(text)
        if isinstance(self.ended, BaseException):
            raise self.ended
        return self.ended


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(verb, "Jobs", Cluster)
    for name in ("said", "ended"):
        monkeypatch.setattr(Cluster, name, getattr(Cluster, name))
    return Cluster


TRAIN = ["train", "--recipe", "training.recipes.flashlips:nano_reconstruction", "--shards",
         "s3://b/shards", "--out", "/shared/out"]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "--address", URL, *TRAIN],
        ["submit", "train", "--address", URL, "--", *TRAIN[1:]],
        ["submit", "train", f"--address={URL}", *TRAIN[1:]],
        ["submit", *TRAIN, "--address", URL],
        ["submit", *TRAIN, "--engine", "ray", "--address", URL],
    ],
)
def test_a_verb_and_its_arguments_become_the_command(arguments, cluster):
    assert main(arguments) == 0
    sent = cluster.last.sent
    assert cluster.last.address == URL
    assert sent.words == ["python", "-m", "flows.cli", *TRAIN, "--engine", "ray"]
    assert (sent.folder / "flows" / "submit.py").is_file()
    assert {"/runs", "/.venv", "/weights", "/.git"} <= set(sent.excludes)


def test_a_job_is_told_which_code_it_runs(cluster, monkeypatch):
    monkeypatch.setattr(verb, "git_commit", lambda: "abc+")
    assert main(["submit", "--address", URL, *TRAIN]) == 0
    assert cluster.last.sent.variables["FLASHLIPS_COMMIT"] == "abc+"


def test_a_verb_without_engine_is_left_as_it_is(cluster):
    assert main(["submit", "--address", URL, "settings"]) == 0
    assert cluster.last.sent.words[3:] == ["settings"]


def test_variables_go_along_and_no_secret_is_printed(cluster, monkeypatch, capsys):
    monkeypatch.setenv("FLASHLIPS_WORKERS", "16")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token-token")
    assert main(["submit", "--address", URL, "settings"]) == 0
    assert cluster.last.sent.variables["FLASHLIPS_WORKERS"] == "16"
    assert cluster.last.sent.variables["AWS_SECRET_ACCESS_KEY"] == "hush-hush"
    assert cluster.last.token == "token-token"
    told = "".join(capsys.readouterr())
    assert "AWS_SECRET_ACCESS_KEY" in told
    assert "hush-hush" not in told
    assert "token-token" not in told


def test_logs_and_the_end_are_told(cluster, capsys):
    assert main(["submit", "--address", URL, "settings"]) == 0
    told = capsys.readouterr()
    assert told.out == "Running\nstep 1\nstep 2\n"
    assert "raysubmit_1" in told.err
    assert told.err.strip().endswith("job raysubmit_1 succeeded")


@pytest.mark.parametrize(
    ("ended", "code", "says"),
    [
        (Ended("FAILED", 2, "Job entrypoint command failed"), 2, "failed with exit code 2: step 2"),
        (Ended("STOPPED", 1, "Job was stopped"), 1, "stopped with exit code 1"),
    ],
)
def test_a_job_that_fails_gives_its_code_and_last_line(ended, code, says, cluster, capsys):
    cluster.ended = ended
    assert main(["submit", "--address", URL, "settings"]) == code
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_job_that_never_began_gives_rays_reason(cluster, capsys):
    cluster.said, cluster.ended = (), Ended("FAILED", 1, "The runtime environment failed")
    assert main(["submit", "--address", URL, "settings"]) == 1
    assert capsys.readouterr().err.strip().endswith("The runtime environment failed")


def test_ctrl_c_detaches_and_says_how_to_go_on(cluster, capsys):
    cluster.ended = KeyboardInterrupt()
    assert main(["submit", "--address", URL, "settings"]) == 130
    told = capsys.readouterr().err
    assert "raysubmit_1 goes on" in told
    assert f"ray job logs --follow --address {URL} raysubmit_1" in told
    assert f"ray job stop --address {URL} raysubmit_1" in told


def test_a_cluster_that_falls_silent_is_told_with_the_job(cluster, capsys):
    cluster.ended = InputError("no Ray dashboard answers")
    assert main(["submit", "--address", URL, "settings"]) == 2
    assert "job raysubmit_1 may go on" in capsys.readouterr().err


def test_no_wait_prints_the_id_alone(cluster, capsys):
    assert main(["submit", "--address", URL, "--no-wait", "settings"]) == 0
    assert capsys.readouterr().out == "raysubmit_1\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--address", URL], "submit what"),
        (["--address", URL, "submit", "settings"], "submit what"),
        (["settings"], "--address"),
        (["--address", "head:8265", "settings"], "http://HEAD:8265"),
        (["--address", "http://127.0.0.1:1", "settings"], "no Ray dashboard answers"),
        (["--address", URL, *TRAIN[:-1], "runs/out"], "whole path"),
        (["--address", URL, *TRAIN[:-2], "--out=out"], "whole path"),
    ],
)
def test_bad_input_is_one_sentence(arguments, says, monkeypatch, capsys):
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # set again by what is tested
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert main(["submit", *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert says in told


def test_a_typing_error_is_told_before_anything_is_sent(cluster, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["submit", "--address", URL, "train", "--recipy", "x"])
    assert stopped.value.code == 2
    assert "train" in capsys.readouterr().err


def test_a_repository_that_is_too_large_is_not_sent(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    for name, size in (
        ("runs", 9_000_000), (".mypy_cache", 9_000_000), ("data", 3_000_000),
        ("core/__pycache__", 9_000_000),
    ):  # fmt: skip
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(bytes(size))
    verb.check_size(tmp_path)
    monkeypatch.setattr(verb, "MOST_MB", 2.0)
    with pytest.raises(InputError, match=r"holds 3 MB, 2 at most .3 of them in data.") as error:
        verb.check_size(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_the_project_is_not_sent(tmp_path):
    with pytest.raises(InputError, match="no checkout"):
        verb.check_size(tmp_path)


def test_a_log_that_breaks_off_is_taken_up_where_it_was(monkeypatch):
    jobs = ray_jobs.Jobs.__new__(ray_jobs.Jobs)
    jobs.address, told, calls = URL, [], []

    async def tail(job):
        calls.append(job)
        yield "one\ntw"
        if len(calls) == 1:
            raise RuntimeError("the connection closed")
        yield "o\nthree\n"

    def info(job):
        over = len(calls) > 1
        status = SimpleNamespace(value="FAILED", is_terminal=lambda: over)
        return SimpleNamespace(status=status, driver_exit_code=3, message="over")

    jobs._client = SimpleNamespace(tail_job_logs=tail, get_job_info=info)
    assert jobs.follow("job", told.append) == Ended("FAILED", 3, "over")
    assert "".join(told) == "one\ntwo\nthree\n"


class Talker:
    """A cluster whose log goes on for two seconds, whatever the listener wants."""

    async def tail_job_logs(self, job):
        for _ in range(200):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            yield "on and on\n"


def test_ctrl_c_is_heard_while_a_job_talks():
    jobs, heard = Jobs.__new__(Jobs), []
    jobs._client = Talker()

    def write(text):
        heard.append(text)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        jobs.follow("job", write)
    assert heard == ["on and on\n"]
