"""Cells, their moments, and the table that is written when they have run.

CHAOS_SEED draws the moments. CHAOS_MOMENTS is their number for each cell; where it is given, a
table goes to ``runs/chaos``, and into the page that CHAOS_TABLE names.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.revision import git_commit
from infra.settings import settings
from tests.chaos import table
from tests.chaos.harness import MOMENTS, PATH, SEED, Moment, Note
from tests.chaos.nodes import Nodes

ROWS = pytest.StashKey[list[dict[str, Any]]]()
NOTE = pytest.StashKey[Note]()
SECONDS = pytest.StashKey[float]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "moment" in metafunc.fixturenames:
        metafunc.parametrize("moment", range(MOMENTS), indirect=True)


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> Moment:
    """A seeded moment of the cell."""
    name = request.node.get_closest_marker("cell").args
    return Moment(request.param, random.Random(f"{SEED} {name} {request.param}"))


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """What the table is told."""
    return request.node.stash.setdefault(NOTE, Note())


@pytest.fixture
def two_nodes(monkeypatch) -> Callable[..., Nodes]:
    """Starts two Ray nodes with these variables."""

    def begin(**variables: str) -> Nodes:
        variables |= {
            "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "20",
        }  # fmt: skip
        for name, value in {"PYTHONPATH": PATH, "FLASHLIPS_GPUS": "0", **variables}.items():
            monkeypatch.setenv(name, value)
        return Nodes()

    return begin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    mark = item.get_closest_marker("cell")
    if mark is None:
        return report
    item.stash[SECONDS] = item.stash.get(SECONDS, 0.0) + report.duration
    if report.when == "teardown" or report.outcome != "passed":
        item.stash.setdefault(ROWS, []).append(_row(item, mark.args, report))
    if report.when == "teardown":
        found = item.config.stash.setdefault(ROWS, [])
        found.append({**item.stash[ROWS][0], "seconds": item.stash[SECONDS]})
    return report


def _row(item: pytest.Item, cell: tuple[str, str], report: pytest.TestReport) -> dict[str, Any]:
    note = item.stash.get(NOTE, Note())
    # What a person is told names files; the table needs no folder of this machine.
    what = note.what.replace(f"{item.funcargs.get('tmp_path', '')}/", "")
    if report.skipped and isinstance(report.longrepr, tuple):
        what = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        lines = report.longreprtext.splitlines()
        what = next((line for line in lines if line.startswith("E ")), "E ?")[1:].strip()[:200]
    return {
        "part": cell[0], "broken": cell[1], "test": item.name, "how": note.how, "when": note.when,
        "what happened": what, "result": report.outcome,
    }  # fmt: skip


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows = session.config.stash.get(ROWS, [])
    if not rows or "CHAOS_MOMENTS" not in os.environ:
        return
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": git_commit()[:10] or "unknown",
        "seed": str(SEED),
    }
    table.write(settings().runs / "chaos", about, rows)
    if page := os.environ.get("CHAOS_TABLE"):
        table.into_page(Path(page), table.markdown(about, rows))
