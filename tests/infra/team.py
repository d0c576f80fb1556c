"""A team's tracking for tests: MLflow over PostgreSQL and S3, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from infra import services, stack
from tests.servers import need_postgres, running

KEY, SECRET = "house", "house-secret"


@contextmanager
def serving() -> Iterator[services.Process]:
    """MLflow's process; PostgreSQL and S3 are below it and stay up when it is killed."""
    need_postgres()
    with running() as (folder, run):
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
