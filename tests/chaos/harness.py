"""What the cells share: programs in processes of their own, and seeded moments to break them at."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

REPO = Path(__file__).parents[2]
SEED = int(os.environ.get("CHAOS_SEED", "0"))
MOMENTS = int(os.environ.get("CHAOS_MOMENTS", "1"))
PATIENCE_S = 600.0
PATH = os.pathsep.join([str(REPO), str(REPO / "tests" / "preprocessing")])


@dataclass
class Moment:
    """One of a cell's moments: its number, from which variants follow, and a source of chance."""

    index: int
    rng: random.Random

    def one_of(self, *variants: str) -> str:
        """A variant; so many moments see all of them."""
        return variants[(self.index + SEED) % len(variants)]


@dataclass
class Note:
    """What the table says about a moment of a cell."""

    how: str = ""
    when: str = ""
    what: str = ""


class Run:
    """A program in a process of its own; ``said`` is what it wrote to standard error.

    Args:
        command: arguments of Python.
        said: file for standard error.
        env: further variables.
    """

    def __init__(self, *command: object, said: Path, **env: str) -> None:
        self.file = said
        site = env.pop("FULL_DISK_SITE", "")
        variables = {
            **os.environ, "PYTHONPATH": f"{site}{os.pathsep if site else ''}{PATH}",
            "RAY_ADDRESS": "local",  # not a Ray that somebody runs on this machine
            # Only the weights that every checkout has: nothing here is about their quality.
            "FLASHLIPS_WEIGHTS": "", **env,
        }  # fmt: skip
        with said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, command)], env=variables, cwd=REPO, stderr=out,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing of a failed test is left running."""
        family = self.family() if self.process.poll() is None else []
        for one in family:
            with suppress(psutil.Error):
                one.kill()
        self.kill()

    @property
    def said(self) -> str:
        return self.file.read_text(errors="replace")

    def family(self, title: str = "") -> list[psutil.Process]:
        """Processes that it started, whose title (a Ray worker's says what it is) begins so."""
        found = []
        with suppress(psutil.Error):
            for one in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if " ".join(one.cmdline()).startswith(title):
                        found.append(one)
        return found

    def kill(self) -> None:
        """SIGKILL, of this very process."""
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(timeout=PATIENCE_S)

    def completed(self) -> str:
        """Waits for its good end; what it said."""
        code = self.wait()
        assert code == 0, self.said
        assert "Traceback" not in self.said, self.said
        return self.said

    def refused(self) -> str:
        """Waits for its end with one clear sentence; gives that."""
        code = self.wait()
        assert code == 2, self.said
        assert "Traceback" not in self.said, self.said
        last = self.said.strip().splitlines()[-1]
        assert last.startswith("flashlips: "), self.said
        return last.removeprefix("flashlips: ")

    def until(self, reached: Callable[[], bool], ended: bool = False) -> None:
        """Waits for a moment of this run; it must not end before, unless ``ended``."""
        end = time.monotonic() + PATIENCE_S
        while not reached():
            over = self.process.poll() is not None
            if over and ended:
                return
            assert not over, f"it ended before the moment came: {self.said}"
            assert time.monotonic() < end, f"the moment never came: {self.said}"
            time.sleep(0.01)


def flashlips(*words: object, said: Path, **env: str) -> Run:
    """A verb of the command line, as a person runs it."""
    return Run("-m", "flows", *words, said=said, **env)
