"""Do two revisions train alike? A few seeded steps of each stage, compared bit for bit.

    python bench/same_numerics.py --base REV [--head REV] [--steps 10]

Checks both revisions out into temporary worktrees, so only what is committed counts, and runs
bench/numerics.py of this checkout in each. Prints a row a stage; exit code 1 when a loss or a final
weight differs, 2 when a revision can't be run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from core.files import read_json

REPO = Path(__file__).resolve().parent.parent
RUNNER = Path(__file__).with_name("numerics.py")
Found = Mapping[str, Mapping[str, Any]]
"""By stage: ``losses`` of each step, ``weights``: hash by tensor."""


class CannotRun(Exception):
    """A revision is not there, or its code does not run the steps."""


@contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """A worktree of the revision, removed at the end."""
    git("worktree", "add", "--quiet", "--detach", str(folder), revision)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def git(*words: str) -> None:
    command = ["git", "-C", str(REPO), "-c", f"core.hooksPath={os.devnull}", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"git {' '.join(words)}: {done.stderr.strip()}")


def measure(revision: str, steps: int, work: Path) -> Found:
    """What the runner gives in a revision; the runner lies outside it and imports its packages."""
    runner, out = work / RUNNER.name, work / "found.json"
    shutil.copyfile(RUNNER, runner)
    with checked_out(revision, work / "checkout") as checkout:
        done = subprocess.run(
            [sys.executable, str(runner), str(out), "--steps", str(steps), "--hashes"],
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            cwd=work, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise CannotRun(f"{revision} can't run the steps: {last}")
    found: Found = read_json(out)
    return found


def first_difference(base: Sequence[float], head: Sequence[float]) -> int:
    """The first step, from 1, whose losses differ or that only one has; 0 when there is none."""
    pairs = enumerate(zip_longest(base, head), start=1)
    return next((step for step, (a, b) in pairs if a != b), 0)


def compare(base: Found, head: Found) -> list[tuple[str, str, str, bool]]:
    """Rows of (stage, on its losses, on its final weights, whether all is the same)."""
    rows = []
    for stage in dict.fromkeys([*base, *head]):
        if stage not in base or stage not in head:
            where = "base" if stage in base else "head"
            rows.append((stage, f"only in {where}", "", False))
            continue
        a, b = base[stage], head[stage]
        step = first_difference(a["losses"], b["losses"])
        names = a["weights"].keys() | b["weights"].keys()
        odd = sorted(n for n in names if a["weights"].get(n) != b["weights"].get(n))
        losses = f"{len(a['losses'])} steps same"
        if step:
            values = [str(x["losses"][step - 1 : step])[1:-1] or "none" for x in (a, b)]
            losses = f"differ from step {step} on: {' and '.join(values)}"
        weights = f"{len(odd)} of {len(names)} differ, first {odd[0]}" if odd else "same"
        rows.append((stage, losses, weights, not step and not odd))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True, help="revision to compare with")
    parser.add_argument("--head", default="HEAD", help="revision to compare; default: HEAD")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    found = []
    try:
        for revision in (options.base, options.head):
            with tempfile.TemporaryDirectory(prefix="same-numerics-") as work:
                found.append(measure(revision, options.steps, Path(work)))
    except CannotRun as error:
        print(f"same_numerics: {error}", file=sys.stderr)
        return 2
    rows = compare(*found)
    print(f"{'stage':<16} {'losses':<56} final weights")
    for stage, losses, weights, _ in rows:
        print(f"{stage:<16} {losses:<56} {weights}")
    return 0 if all(same for *_, same in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
