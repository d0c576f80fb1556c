"""Settings: the environment is read in one place and checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import InputError
from core.storage import S3, Remote
from infra.settings import REPO, Settings, for_job, ray_token, settings


def test_defaults_need_no_environment():
    found = settings({})
    assert found.weights == (REPO / "weights",)
    assert found.runs == Path("runs")
    assert found.mlflow_uri == f"sqlite:///{Path('runs/mlflow.db').resolve()}"
    assert found.workers == 1
    assert found.threads >= 1
    assert found.store().folders == found.weights


def test_the_environment_changes_them(tmp_path):
    env = {
        "FLASHLIPS_WEIGHTS": f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}",
        "FLASHLIPS_RUNS": str(tmp_path / "runs"),
        "FLASHLIPS_MLFLOW_URI": "http://localhost:5000",
        "FLASHLIPS_WORKERS": "2",
        "FLASHLIPS_THREADS": "3",
        "FLASHLIPS_GPUS": "1",
        "FLASHLIPS_BACKEND": "torch",
        "FLASHLIPS_S3_ENDPOINT": "http://localhost:9000",
        "FLASHLIPS_S3_PATIENCE": "7",
        "FLASHLIPS_WORK": str(tmp_path / "work"),
        "FLASHLIPS_FRAME_CACHE": str(tmp_path / "frames"),
        "RAY_ADDRESS": "10.0.0.1:6379",
    }
    found = settings(env)
    assert found.weights == (REPO / "weights", tmp_path / "a", tmp_path / "b")
    assert (found.mlflow_uri, found.workers, found.threads) == ("http://localhost:5000", 2, 3)
    assert (found.backend, found.gpus, settings({}).gpus) == ("torch", 1, None)
    server = S3("http://localhost:9000", 7.0, (tmp_path / "work").resolve())
    assert found.s3 == server
    assert found.frame_cache == (tmp_path / "frames").resolve()
    assert found.cluster == "10.0.0.1:6379"
    assert settings({"RAY_ADDRESS": "local"}).cluster == ""
    assert found.place("s3://bucket/a/b/") == Remote("s3://bucket/a/b", server)
    assert found.place("a/b") == Path("a/b")
    assert {row["variable"] for row in found.describe()} == set(env)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("FLASHLIPS_WORKERS", "two", "whole number"),
        ("FLASHLIPS_WORKERS", "0", "1 or more"),
        ("FLASHLIPS_THREADS", "-1", "1 or more"),
        ("FLASHLIPS_GPUS", "8", "0 or 1"),
        ("FLASHLIPS_MLFLOW_URI", "localhost", "must be an address"),
        ("FLASHLIPS_S3_ENDPOINT", "localhost:9000", "must be an address"),
        ("FLASHLIPS_S3_PATIENCE", "-1", "0 or more"),
    ],
)
def test_a_bad_value_names_its_variable(name, value, words):
    with pytest.raises(InputError, match=words) as error:
        settings({name: value})
    assert name in str(error.value)


def test_runs_must_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        Settings(runs=tmp_path / "file")


def test_quiet_switches_telemetry_off_but_keeps_what_is_set():
    program = (
        "import os; from infra.settings import quiet; quiet(); "
        "print(*[os.environ[n] for n in ('RAY_USAGE_STATS_ENABLED', 'DO_NOT_TRACK',"
        " 'PREFECT_SERVER_ANALYTICS_ENABLED', 'MLFLOW_DISABLE_TELEMETRY', 'HF_HUB_OFFLINE')])"
    )
    env = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", "1", "false", "true", "0"]


def test_a_job_is_given_what_is_set_here_but_not_this_machines_cluster(tmp_path):
    env = {
        "FLASHLIPS_S3_ENDPOINT": "http://s3:9000",
        "FLASHLIPS_RUNS": "",
        "RAY_ADDRESS": "10.0.0.1:6379",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "HOME": "/nowhere",
    }
    passed = for_job(env)
    assert passed == {"FLASHLIPS_S3_ENDPOINT": "http://s3:9000", "AWS_SECRET_ACCESS_KEY": "hush"}


def test_a_clusters_token_is_named_or_in_a_file(tmp_path):
    (tmp_path / "token").write_text("abc\n")
    path = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert ray_token({}) == ""
    assert ray_token(path) == "abc"
    assert ray_token({**path, "RAY_AUTH_TOKEN": "xyz"}) == "xyz"
    with pytest.raises(InputError, match="name the file"):
        ray_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "no")})
