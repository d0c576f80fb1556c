"""``flashlips submit VERB``: a verb as a job of a Ray cluster, followed in this terminal."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError
from core.storage import SCHEME
from flows.console import Console
from infra.ray_jobs import Ended, Jobs
from infra.revision import git_commit
from infra.settings import REPO, VARIABLES, for_job, ray_token, settings

MOST_MB = 200.0
"""Largest repository that is sent: the head keeps it in memory and hands it to every node."""
LEFT_OUT = (".git", ".venv", "runs", "weights", "mlruns", "build")
"""At the top of the repository; nodes have weights of their own."""
CACHES = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache")


def submit(words: Sequence[str], address: str, wait: bool = True) -> int:
    """Runs ``flashlips WORDS`` on a cluster.

    Args:
        words: the verb and its arguments, already checked.
        address: of the head's dashboard; "" takes ``RAY_ADDRESS`` where that is one.
        wait: follow the job to its end.

    Returns:
        The job's exit code; 0 at once without ``wait``; 130 when Ctrl-C ended the following.

    Raises:
        InputError: the cluster, the repository or the arguments can't be used.
    """
    console = Console()
    _check_out(words)
    check_size(REPO)
    jobs = Jobs(address or _known(), ray_token())
    # What is sent is no checkout, and a run must name its code all the same.
    commit = git_commit()
    variables = for_job() | ({VARIABLES["commit"]: commit} if commit else {})
    entrypoint = shlex.join(["python", "-m", "flows.cli", *words])
    excludes = [*(f"/{name}" for name in LEFT_OUT), *CACHES]
    job = jobs.submit(entrypoint, REPO, excludes, variables)
    if not wait:
        sys.stdout.write(f"{job}\n")
        console.say(_how(jobs, job))
        return 0
    passed = f" with {', '.join(variables)}" if variables else ""
    console.say(f"job {job} at {jobs.address}{passed}")
    try:
        return _follow(jobs, job, console)
    except KeyboardInterrupt:
        console.say(f"\nflashlips: no longer following, {job} goes on\n{_how(jobs, job)}")
        return 130
    except InputError as error:
        raise InputError(f"{error}; job {job} may go on\n{_how(jobs, job)}") from error


def check_size(root: Path) -> None:
    """Refuses a repository that is too large to send.

    Raises:
        InputError: names the largest of its folders.
    """
    if not (root / "pyproject.toml").is_file():
        raise InputError(
            f"{root} is no checkout of this repository, which 'submit' sends to the nodes: run it "
            "from a checkout (pip install -e .)"
        )
    sent = [top for top in root.iterdir() if top.name not in (*LEFT_OUT, *CACHES)]
    sizes = {top.name: _megabytes(top) for top in sent}
    total, largest = sum(sizes.values()), max(sizes, key=lambda name: sizes[name])
    if total > MOST_MB:
        raise InputError(
            f"{root} would be sent to every node and holds {total:.0f} MB, {MOST_MB:.0f} at most "
            f"({sizes[largest]:.0f} of them in {largest}): move data out of the repository, or "
            "into runs, which is not sent"
        )


def _megabytes(top: Path) -> float:
    if top.is_file():
        return top.stat().st_size / 1e6
    total = 0
    for folder, inner, files in os.walk(top):
        inner[:] = [name for name in inner if name not in CACHES]
        total += sum((Path(folder) / name).lstat().st_size for name in files)
    return total / 1e6


def _check_out(words: Sequence[str]) -> None:
    """A relative ``--out`` would lie in a folder of the head that goes with the job."""
    for option, value in zip(words, [*words[1:], ""], strict=True):
        name, _, inline = option.partition("=")
        out = inline or value
        if name in ("--out", "-o") and not (out.startswith(SCHEME) or Path(out).is_absolute()):
            raise InputError(
                f"{name} {out} would be lost with the job's folder: name a folder that every node "
                "has by its whole path, or s3://bucket/prefix"
            )


def _known() -> str:
    """The cluster's address where the settings name a dashboard."""
    address = settings().cluster
    if "://" not in address:
        raise InputError("which cluster: give --address http://HEAD:8265, the head's dashboard")
    return address


def _follow(jobs: Jobs, job: str, console: Console) -> int:
    last = ""

    def write(text: str) -> None:
        nonlocal last
        sys.stdout.write(text)
        sys.stdout.flush()
        last = next((line for line in reversed(text.splitlines()) if line.strip()), last)

    ended = jobs.follow(job, write)
    console.say(_verdict(job, ended, last))
    return ended.code


def _verdict(job: str, ended: Ended, last: str) -> str:
    if ended.status == "SUCCEEDED":
        return f"job {job} succeeded"
    why = last or (ended.reason.splitlines() or ["it said nothing"])[-1]
    return f"flashlips: job {job} {ended.status.lower()} with exit code {ended.code}: {why}"


def _how(jobs: Jobs, job: str) -> str:
    """Ray's own commands, for later."""
    return (
        f"follow it  ray job logs --follow --address {jobs.address} {job}\n"
        f"stop it    ray job stop --address {jobs.address} {job}"
    )
