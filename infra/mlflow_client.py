"""MLflow's client: loaded late, impatient, and its refusals told from its absence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.settings import quiet

TIMEOUT_S = 30
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")


class Refused(Exception):
    """It makes no sense to send it again."""


def load() -> None:
    """Imports MLflow, where everybody imports, and tells its client to give up soon.

    Ours is the loop that tries again.
    """
    quiet()
    from mlflow import MlflowClient  # noqa: F401 - it takes seconds
    from mlflow import environment_variables as variables

    for variable, value in (
        (variables.MLFLOW_HTTP_REQUEST_TIMEOUT, TIMEOUT_S),
        (variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 0),
        (variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, True),
    ):
        if not variable.is_set():
            variable.set(value)


def connect(uri: str, runs: Path) -> Any:
    """An ``MlflowClient``."""
    load()
    from mlflow import MlflowClient

    if uri.startswith("sqlite:"):
        runs.mkdir(parents=True, exist_ok=True)  # sqlite makes files, not folders
    return MlflowClient(tracking_uri=uri)


def one_line(error: object) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def is_final(error: Exception) -> bool:
    """Whether MLflow itself said no, and would say it again."""
    if isinstance(error, Refused | FileNotFoundError):
        return True
    from mlflow.exceptions import MlflowException

    # Words of a proxy in between come without MLflow's JSON, as an "API request" that failed.
    said = isinstance(error, MlflowException) and not str(error).startswith("API request")
    return said and getattr(error, "error_code", "") in REFUSALS
