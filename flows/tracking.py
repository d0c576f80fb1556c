"""One parent run a job, one child a stage, whatever process or restart they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from core.files import read_json, write_json
from infra.mlflow_tracker import open_tracker
from infra.settings import settings
from infra.trackers import NullTracker

RUN = "mlflow_run.json"


def parent_run(folder: Path, name: str, tags: Mapping[str, str] | None = None) -> NullTracker:
    """The job's run; the same one after an interruption."""
    known = folder / RUN
    resume = read_json(known)["run_id"] if known.exists() else ""
    tracker = open_tracker(settings(), name, tags, resume=resume)
    write_json(known, {"run_id": tracker.run_id})
    return tracker


@contextmanager
def child_run(
    folder: Path, job: str, name: str, tags: Mapping[str, str] | None = None
) -> Iterator[NullTracker]:
    """A stage's run below the job's; closed as finished or failed."""
    child = parent_run(folder, job).child(name, tags)
    try:
        yield child
    except BaseException:
        child.close("FAILED")
        raise
    child.close()
