"""A team's tracking for the cells: MLflow, over PostgreSQL where that is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.files import read_json
from flows.tracking import RUN
from infra import services, stack
from infra.mlflow_client import connect
from infra.mlflow_sender import KEY
from tests.servers import running


@dataclass
class Team:
    """Processes that a test may kill and start again."""

    mlflow: services.Process
    postgres: services.Process | None

    @property
    def address(self) -> str:
        """MLflow's."""
        return self.mlflow.service.address


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    with running() as (folder, run):
        database, address = None, f"sqlite:///{folder / 'mlflow.db'}"
        if stack.has_postgres():
            database = run(stack.postgres(folder / "postgres", services.free_port()))
            address = database.service.address
        artifacts = str(folder / "artifacts")
        yield Team(run(stack.mlflow(address, artifacts, services.free_port(), {})), database)


def histories(address: str, out: Path, names: Iterable[str]) -> dict[str, list]:
    """Steps and values by name, as MLflow has them of the run that trained into ``out``."""
    key = read_json(out / RUN)["key"]
    client = connect(address, out.parent)
    experiment = client.get_experiment_by_name("flashlips").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'")
    assert run.info.status == "FINISHED"
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in names
    }
