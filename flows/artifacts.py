"""What a run shows in Prefect's UI: the ledger in numbers, sample pictures, a way to MLflow.

Showing is never worth a failed run: what can't be shown is a line in the log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from core.storage import Place
from flows.tracking import key_in
from infra.mlflow_tracker import id_of
from infra.settings import settings

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
ROWS = 40
"""Reasons that a table lists, most frequent first."""
PICTURES, ACROSS, SIDE = 12, 6, 96
"""A contact sheet: pictures, pictures in a row, pixels of a picture's side."""


def gently(show: Callable[P, None]) -> Callable[P, None]:
    """The same, except that it never raises."""

    @functools.wraps(show)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a picture must never fail the work it shows
            LOG.warning("%s can't be shown: %s", show.__name__, error)

    return run


@gently
def show_shards(shards: Place) -> None:
    """Table of what became of the inputs, and a contact sheet of samples."""
    from preprocessing import ledger

    rows = reasons(ledger.read(shards / ledger.LEDGER))
    inputs = sum(row["inputs"] for row in rows)
    create_table_artifact(rows[:ROWS], "ledger", f"{inputs} inputs of {shards} by outcome")
    picture = contact_sheet(shards)
    if picture:
        create_image_artifact(picture, "samples", f"samples of {shards}")


def reasons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Inputs of a ledger counted by outcome and reason, kept ones first; parts are no inputs."""
    from preprocessing import ledger

    kept = sum(row["outcome"] == "ok" for row in rows)
    dropped = [one for one in ledger.reasons(rows) if one.outcome != "part"]
    return [
        {"outcome": one.outcome, "reason": one.why, "inputs": one.count, "such as": one.example}
        for one in (ledger.Reason("kept", "", kept, ""), *dropped)
    ]


def contact_sheet(shards: Place) -> str:
    """Samples spread over the shards, as one small JPEG's data URI; "" when none has a picture."""
    import cv2

    from core.shards import ByKey
    from preprocessing.page import frame_of, jpeg, spread

    found = [frame_of(sample) for sample in spread(ByKey([shards]), PICTURES)]
    tiles = [
        cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in found if f is not None
    ]
    if not tiles:
        return ""
    across = min(ACROSS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % across)
    lines = [np.concatenate(tiles[i : i + across], 1) for i in range(0, len(tiles), across)]
    return jpeg(np.concatenate(lines, 0))


@gently
def show_tracked(folder: Path) -> None:
    """A link to the run in MLflow; how to open it, where MLflow is a file.

    Args:
        folder: of the job, which holds the run's key (see ``flows.tracking``).
    """
    where = settings().mlflow_uri
    run = id_of(settings(), key_in(folder))
    if not run:
        return
    if where.startswith(("http://", "https://")):
        create_link_artifact(f"{where.rstrip('/')}/#/runs/{run}", "MLflow", "mlflow")
        return
    text = f"Run `{run}`: `mlflow ui --backend-store-uri {where}`, then `/#/runs/{run}`."
    create_markdown_artifact(text, "mlflow", "the run in MLflow")


@gently
def show_text(key: str, text: str) -> None:
    """A paragraph in markdown."""
    create_markdown_artifact(text, key)
