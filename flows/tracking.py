"""One parent run a job, one child a stage, whatever process or restart they come from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.files import read_json, write_json
from infra.mlflow_tracker import EXPERIMENT, open_tracker
from infra.settings import settings
from infra.trackers import NullTracker

RUN = "mlflow_run.json"


def parent_run(
    folder: Path, name: str, tags: Mapping[str, str] | None = None, experiment: str = EXPERIMENT
) -> NullTracker:
    """The job's run; the same one after an interruption."""
    known = folder / RUN
    if not known.exists():
        write_json(known, {"key": uuid.uuid4().hex})
    return open_tracker(settings(), name, tags, experiment, resume=key_in(folder))


def key_in(folder: Path) -> str:
    """Key of a job's run; "" where none was begun."""
    known = folder / RUN
    # Older ones hold MLflow's id, which stands for a key as well.
    return str(next(iter(read_json(known).values()))) if known.exists() else ""


@contextmanager
def child_run(
    folder: Path, job: str, name: str, tags: Mapping[str, str] | None = None
) -> Iterator[NullTracker]:
    """A stage's run below the job's; closed as finished or failed."""
    parent = parent_run(folder, job)
    try:
        with parent.child(name, tags) as child:
            yield child
    finally:
        parent.leave()
