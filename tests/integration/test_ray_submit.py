"""``flashlips submit`` against a real Ray head with a token: logs, exit codes, what a 401 says."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from infra.services import Process, free_port
from infra.stack import ray_head

REPO = Path(__file__).parents[2]
CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH",
           "RAY_AUTH_MODE")  # fmt: skip

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Address and token file of a head of this test's own."""
    short = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Ray's sockets bear no long paths
    token = short / "token"
    token.write_text(secrets.token_hex(32))
    variables = {
        "RAY_TMPDIR": str(short), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_AUTH_TOKEN": "", "RAY_ADDRESS": "", "FLASHLIPS_WEIGHTS": "",
    }  # fmt: skip
    service = ray_head(free_port(), free_port(), variables)
    process = Process(service, tmp_path_factory.mktemp("head"))
    try:
        yield process.start().service.address, token
    finally:
        process.stop()
        shutil.rmtree(short, ignore_errors=True)


def run(head, *words: str, **variables: str) -> subprocess.Popen:
    address, token = head
    env = {name: value for name, value in os.environ.items() if name not in CLUSTER}
    env |= {"PYTHONPATH": str(REPO), "RAY_AUTH_TOKEN_PATH": str(token), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "submit", "--address", address, *words],
        env={k: v for k, v in env.items() if v}, cwd=REPO,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_verb_runs_there_with_this_machines_settings(head):
    keys = {"AWS_ACCESS_KEY_ID": "house", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    process = run(head, "settings", FLASHLIPS_WORKERS="7", **keys)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert any(line.split()[:2] == ["workers", "7"] for line in out.splitlines()), out
    assert "RAY_ADDRESS" in out
    assert "here   (RAY_ADDRESS)" not in out, "the job does not see its cluster"
    assert err.strip().endswith("succeeded")
    assert "hush-hush" not in out + err


def test_a_job_that_fails_gives_its_exit_code_and_last_line(head):
    process = run(head, "data", "inspect", "/nowhere/at/all")
    out, err = process.communicate()
    assert process.returncode == 2, err
    last = err.strip().splitlines()[-1]
    assert "failed with exit code 2" in last
    assert "/nowhere/at/all" in last
    assert out.strip().splitlines()[-1] in last


def test_a_wrong_token_and_none_are_one_sentence(head, tmp_path):
    (tmp_path / "wrong").write_text(secrets.token_hex(32))
    for path in (str(tmp_path / "wrong"), ""):
        process = run(head, "settings", RAY_AUTH_TOKEN_PATH=path)
        _, err = process.communicate()
        assert process.returncode == 2, err
        assert "RAY_AUTH_TOKEN_PATH" in err.strip().splitlines()[-1]
        assert "Traceback" not in err


def test_a_placement_that_can_not_be_met_ends_the_job(head, tmp_path):
    """Inside a job: it joins the cluster it runs on, and says what that lacks."""
    from tests.training import dummy

    shards = dummy.write_clips(tmp_path / "shards")
    words = ["train", "--recipe", "tests.training.dummy:recipe", "--shards", str(shards), "--out"]
    start = time.monotonic()
    stays = {"FLASHLIPS_RUNS": str(tmp_path / "runs")}
    process = run(head, *words, str(tmp_path / "out"), FLASHLIPS_GPUS="1", **stays)
    out, err = process.communicate()
    assert process.returncode == 2, err
    last = err.strip().splitlines()[-1]
    assert "training asks for 1 worker with 1 CPU and 1 GPU" in last
    assert "FLASHLIPS_GPUS=0" in last
    assert "waiting up to 25 s for nodes to join" in out
    assert time.monotonic() - start < 600


def test_a_job_that_would_lose_what_it_tracks_does_not_begin(head, tmp_path):
    from tests.training import dummy

    shards = dummy.write_clips(tmp_path / "shards")
    words = ["train", "--recipe", "tests.training.dummy:recipe", "--shards", str(shards), "--out"]
    process = run(head, *words, str(tmp_path / "out"), FLASHLIPS_RUNS="")
    _, err = process.communicate()
    assert process.returncode == 2, err
    assert "FLASHLIPS_RUNS=runs lies in this job's own folder" in err.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "history.jsonl").exists()


def test_ctrl_c_leaves_the_job_running(head):
    from ray.job_submission import JobSubmissionClient

    nobody = {"FLASHLIPS_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    nobody |= {"AWS_ACCESS_KEY_ID": "house", "AWS_SECRET_ACCESS_KEY": "hush-hush"}
    words = ["data", "inspect", "s3://bucket/shards"]  # waits for the server to come back
    process = run(head, *words, FLASHLIPS_S3_PATIENCE="600", **nobody)
    line = process.stderr.readline()
    job = line.split()[1]
    while "Running entrypoint" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"{job} goes on" in err
    address, token = head
    headers = {"Authorization": f"Bearer {token.read_text()}"}
    client = JobSubmissionClient(address, headers=headers)
    assert client.get_job_status(job) == "RUNNING"
    assert client.stop_job(job)
