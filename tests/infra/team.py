"""A team's tracking for tests: MLflow over PostgreSQL and S3, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from infra import services, stack

KEY, SECRET = "house", "house-secret"


@contextmanager
def serving() -> Iterator[services.Process]:
    """MLflow's process; PostgreSQL and S3 are below it and stay up when it is killed."""
    if not stack.has_postgres():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'flashlips-house[team]'")
    with ExitStack() as ends:
        # Not below pytest's folder, which others may not look into: PostgreSQL never runs as root.
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="flashlips-team-")))
        folder.chmod(0o755)

        def run(service: services.Service) -> services.Process:
            process = services.Process(service, folder / "services")
            ends.callback(process.stop, at_once=True)
            return process.start()

        database = run(stack.postgres(folder / "postgres", services.free_port()))
        bucket = run(stack.s3(folder / "s3", services.free_port(), KEY, SECRET))
        yield run(
            stack.mlflow(
                database.service.address,
                f"s3://{stack.BUCKET}/mlflow",
                services.free_port(),
                stack.s3_variables(bucket.service.address, KEY, SECRET),
            )
        )
