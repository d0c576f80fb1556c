"""Verbs that operate services: ``up``, ``down``, ``doctor``, and how their answers look."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from infra.settings import REPO, settings
from infra.team import Row, Team

DEPLOYMENTS = REPO / "prefect.yaml"
DEPLOY_S = 300.0


def up(only: Sequence[str], say: Callable[[str], None]) -> tuple[str, bool]:
    """Starts services and deploys flows.

    Returns:
        What to print, and whether all that was asked for runs.
    """
    team = Team(settings())
    rows = team.up(only, say)
    deployed = _deploy(team, say) if any(r.name == "prefect-worker" and r.pid for r in rows) else ""
    lines = [_table(rows), *(f"{row.name}: {row.trouble}" for row in rows if row.trouble)]
    lines += [deployed] if deployed else []
    lines.append(f"\nsource {_short(team.env_file)}    # then this shell uses them")
    return "\n".join(lines), not deployed and all(row.pid and not row.trouble for row in rows)


def down(say: Callable[[str], None]) -> str:
    """Ends services; their data stays."""
    team = Team(settings())
    ended = team.down(say)
    return f"{len(ended)} services ended; data, logs and credentials stay in {_short(team.folder)}"


def doctor(only: Sequence[str], as_json: bool) -> tuple[str, bool]:
    """Checks what the settings ask for.

    Returns:
        What to print, and whether nothing that is configured is broken.
    """
    from infra.doctor import diagnose, well

    rows = diagnose(settings(), only)
    if as_json:
        return json.dumps([asdict(row) for row in rows], indent=2), well(rows)
    table = columns([(row.state, row.name, row.found) for row in rows]).splitlines()
    lines = []
    for line, row in zip(table, rows, strict=True):
        lines += [line, f"         {row.remedy}"] if row.remedy else [line]
    return "\n".join(lines), well(rows)


def _deploy(team: Team, say: Callable[[str], None]) -> str:
    """Gives the server the deployments of ``prefect.yaml``; what went wrong, or ""."""
    if not DEPLOYMENTS.exists():
        return ""
    say("deployments: prefect deploy --all")
    log = team.logs / "deploy.log"
    environment = {**os.environ, **team.variables(), "PREFECT_HOME": str(team.folder / "worker")}
    with log.open("ab") as out:
        try:
            code = subprocess.run(
                [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
                cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, timeout=DEPLOY_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = -1
    return f"deployments: not all were taken; what Prefect said is in {_short(log)}" if code else ""


def _table(rows: Sequence[Row]) -> str:
    lines = [("service", "address", "pid", "log")]
    lines += [(r.name, r.address, str(r.pid or "-"), _short(r.log)) for r in rows]
    return columns(lines)


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of words as a table; the last column is as wide as it is."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)] + [0]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _short(path: Path) -> str:
    """As a person here would write it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
