"""What ends a process ends one clip, in both runners' only way to a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from core.clip import Clip
from core.errors import InputError
from preprocessing.guard import Guard
from preprocessing.plan import Placed, Work


@dataclass(frozen=True)
class Halves:
    """Two parts for one."""

    name = "halves"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def setup(self) -> None:
        pass

    def __call__(self, clips: Sequence[Clip]):
        return [clip.noting(half=i) for clip in clips for i in (0, 1)]


@dataclass(frozen=True)
class Trouble:
    """Does what the clip's name asks for, in its second half."""

    setup_too: str = ""
    name = "trouble"
    needs = frozenset[str]()
    adds = frozenset[str]()

    def setup(self) -> None:
        if self.setup_too == "mend":
            raise InputError("a weight is missing; fetch it")
        if self.setup_too == "die":
            os.kill(os.getpid(), signal.SIGSEGV)

    def __call__(self, clips: Sequence[Clip]):
        for clip in clips:
            if clip.facts["half"] == 1 and clip.source == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if clip.facts["half"] == 1 and clip.source == "hang":
                time.sleep(600)
            if clip.source == "lie":
                clip = clip.having(undeclared=1)
            if clip.source.startswith("/"):
                Path(clip.source).write_text(str(os.getpid()))
                time.sleep(600)
            yield clip.noting(by=os.getpid())


def guard(trouble: Trouble = Trouble(), limit_s: float = 60.0) -> Guard:
    return Guard([Placed(Halves()), Placed(trouble, limit_s=limit_s)], None)


def through(guard: Guard, source: str) -> list[Work]:
    return list(guard.do(Work(source, Clip(source, source))))


def test_a_crash_and_a_hang_cost_their_clip_and_nothing_else():
    with guard(limit_s=3.0) as kept:
        first = through(kept, "fine")
        crash, hang, last = (through(kept, name) for name in ("crash", "hang", "fine"))
    for parts in (first, crash, hang, last):
        assert sum((p.share for p in parts), Fraction(0)) == 1
    assert [p.clip.drop for p in first + last] == [None] * 4
    assert first[0].clip.facts["by"] == first[1].clip.facts["by"] != last[0].clip.facts["by"]
    assert crash[0].clip.drop is None
    assert (crash[1].clip.drop.step, crash[1].clip.drop.kind) == ("trouble", "failed")
    assert crash[1].clip.drop.reason == "ChildProcessError: the worker was ended by SIGSEGV"
    assert hang[1].clip.drop.reason == "TimeoutError: not done after 3 s (Placed.limit_s)"


def test_what_a_person_can_mend_and_what_is_our_own_mistake():
    with guard(Trouble("mend")) as kept, pytest.raises(InputError, match="a weight is missing"):
        through(kept, "fine")
    with guard(Trouble("die")) as kept, pytest.raises(RuntimeError, match=r"set up: .*SIGSEGV"):
        through(kept, "fine")
    with guard() as kept, pytest.raises(RuntimeError, match=r"undeclared"):
        through(kept, "lie")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_the_worker_ends_with_its_killed_parent(tmp_path):
    code = (
        "import sys; from preprocessing.plan import Work; from core.clip import Clip;"
        "from tests.preprocessing.test_guard import guard, through; through(guard(), sys.argv[1])"
    )
    note = tmp_path / "pid"
    repo = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": repo}
    parent = subprocess.Popen([sys.executable, "-c", code, str(note)], env=env, cwd=repo)
    end = time.monotonic() + 100
    while not (note.exists() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    worker = Path("/proc") / note.read_text()
    assert worker.exists(), "the guard's child never ran"
    parent.kill()
    parent.wait()
    while worker.exists() and time.monotonic() < end:
        if (worker / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return  # ended; nobody here to collect it
        time.sleep(0.05)
    assert not worker.exists()
