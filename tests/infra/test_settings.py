"""Settings: the environment is read in one place and checked."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InputError
from core.storage import S3, Remote
from flows.cli import main
from infra.addresses import Ports, hidden
from infra.settings import REPO, Settings, for_job, ray_token, settings, unknown


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
        "FLASHLIPS_BUCKET": "s3://bucket/",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PREFECT_API_URL": "http://localhost:4200/api",
        "FLASHLIPS_METRICS_PORT": "9464",
        "FLASHLIPS_PORTS": "mlflow=5000, ray=6379",
        "FLASHLIPS_CLIPS": str(tmp_path / "clips"),
        "FLASHLIPS_COMMIT": "abc+",
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
    assert (found.bucket, found.metrics_port) == ("bucket", 9464)
    assert (found.s3_key, found.s3_secret) == ("key", "secret")
    assert found.prefect_api == "http://localhost:4200/api"
    assert found.ports == replace(Ports(), mlflow=5000, ray=6379)
    assert (found.clips, found.commit) == (tmp_path / "clips", "abc+")
    assert unknown(env) == []
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
        ("FLASHLIPS_METRICS_PORT", "70000", "must be a port"),
        ("FLASHLIPS_METRICS_PORT", "on", "whole number"),
        ("FLASHLIPS_BUCKET", "s3://bucket/a", "bucket's name"),
        ("FLASHLIPS_PORTS", "redis=1", "no service 'redis'"),
        ("FLASHLIPS_PORTS", "mlflow=99999", "from 1 to 65535"),
        ("FLASHLIPS_PORTS", "mlflow", "mlflow=PORT"),
        ("FLASHLIPS_PORTS", "mlflow=9010", "two services on one port"),
        ("PREFECT_API_URL", "localhost:4200", "must be an address"),
        ("AWS_ACCESS_KEY_ID", "key", "come together"),
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


def test_secrets_are_not_printed(monkeypatch, capsys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-s3")
    monkeypatch.setenv("FLASHLIPS_MLFLOW_URI", "postgresql://user:hush-db@host:5432/runs")
    monkeypatch.setenv("PREFECT_API_URL", "https://user:hush-flow@host/api?token=hush-token&a=1")
    monkeypatch.setenv("FLASHLIPS_S3_ENDPOINT", "http://user:hush-place@host:9000")
    assert main(["settings"]) == 0
    said = capsys.readouterr().out
    assert "postgresql://user:***@host:5432/runs" in said
    assert "https://user:***@host/api?token=***&a=1" in said
    assert "hush" not in said
    assert "AKIAFINE" not in said
    assert "hush-s3" not in repr(settings())


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql+psycopg://u:p@ss:w@h:5/x", "postgresql+psycopg://u:***@h:5/x"),
        ("http://host:5000", "http://host:5000"),
        ("http://user@host:5000/a:b@c", "http://user@host:5000/a:b@c"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
        ("", ""),
    ],
)
def test_a_password_in_an_address_is_hidden(address, shown):
    assert hidden(address) == shown


def test_a_misspelt_variable_is_found():
    assert unknown({"FLASHLIPS_WORKRES": "2", "WORKERS": "3"}) == [
        "FLASHLIPS_WORKRES (is it FLASHLIPS_WORKERS?)"
    ]


# Who hands the environment on to a child process, and those that set a variable for a library.
PASS_ON = {
    "preprocessing/guard.py", "infra/services.py", "flows/operate.py", "bench/same_numerics.py",
}  # fmt: skip
CHOOSES = {"bench/sync.py", "infra/ray_jobs.py"}


def test_nothing_else_reads_the_environment():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", "*.py"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert "infra/settings.py" in listed
    for name in listed:
        path = REPO / name
        # Tests have knobs of their own: seeds and numbers of trials.
        if name == "infra/settings.py" or name.startswith("tests/") or not path.exists():
            continue
        code = path.read_text()
        reads = environment_uses(code) if "environ" in code or "getenv" in code else set()
        allowed = {"passed on"} if name in PASS_ON else {"set"} if name in CHOOSES else set()
        assert reads <= allowed, f"{name} looks at the environment: ask infra.settings"


def environment_uses(code: str) -> set[str]:
    """How a module uses the environment: "passed on" to a child, "set" a variable, "read" it."""
    tree, found, understood = ast.parse(code), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            passed = [v for k, v in zip(node.keys, node.values, strict=True) if k is None]
            understood |= {id(v) for v in passed if is_environment(v)}
            found |= {"passed on" for v in passed if is_environment(v)}
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            understood |= {id(node.value)}
            found |= {"set"} if is_environment(node.value) else set()
    for node in ast.walk(tree):
        if is_environment(node) and id(node) not in understood:
            found.add("read")
    return found


def is_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(a.name in ("environ", "getenv") for a in node.names)
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return False
    return node.value.id == "os" and node.attr in ("environ", "environb", "getenv")


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("import os; env = {**os.environ, 'A': 'b'}", {"passed on"}),
        ("import os; os.environ['A'] = 'b'", {"set"}),
        ("import os; a = os.environ['A']", {"read"}),
        ("import os; a = os.getenv('A')", {"read"}),
        ("import os; a = {**os.environ}, os.environ.get('A')", {"passed on", "read"}),
        ("from os import environ", {"read"}),
        ("import os; a = os.cpu_count()", set()),
    ],
)
def test_uses_of_the_environment_are_told_apart(code, uses):
    assert environment_uses(code) == uses
