"""A chain of steps: what it is, whether it fits together, and one step done to one clip.

Both runners use ``setup`` and ``do``; they differ only in where those calls happen.
"""

from __future__ import annotations

import copy
import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from core.clip import Clip
from core.contracts import Step
from core.errors import InputError
from core.sample import SCHEMA

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """A step and what one worker of it may use. Resources are said here and nowhere else.

    Attributes:
        step: the step.
        cpus: processor cores of one worker.
        gpus: share of a GPU of one worker; Ray refuses to start where there is none.
        batch: clips handed to a worker at once; nets still see one clip at a time.
        workers: how many at most; 0 is as many as the machines hold.
        limit_s: longest that one clip may take in it, in seconds; a bound on what hangs, not on
            what is slow: a codec of a billion weights on a processor needs more.
    """

    step: Step
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 1
    workers: int = 0
    limit_s: float = 900.0

    @property
    def place(self) -> tuple[float, float, int, int]:
        """Neighbours of equal place share their workers, so that frames never travel."""
        return (self.cpus, self.gpus, self.batch, self.workers)


@dataclass(frozen=True)
class Work:
    """A clip on its way, and what the runner needs to lose none.

    Attributes:
        input: id of the clip that was listed.
        clip: the clip as it is now; a part of the input once a step has split it.
        share: which part of the input this is. A step that gives n clips for one gives each
            1/n of its share, so an input is finished when its shares add up to 1.
        seconds: time spent, by step.
    """

    input: str
    clip: Clip
    share: Fraction = Fraction(1)
    seconds: Mapping[str, float] = field(default_factory=dict)


def check(chain: Sequence[Placed]) -> None:
    """Walks the chain before anything starts.

    Raises:
        InputError: a step is no Step, stands there twice, needs a field that no step before it
            adds, or adds one that the step before has added.
    """
    known: dict[str, str] = {}
    names: set[str] = set()
    for placed in chain:
        step = placed.step
        if not isinstance(step, Step):
            raise InputError(f"{step!r} in the chain is no step: it needs name, needs, adds, setup")
        if step.name in names:
            raise InputError(f"step {step.name!r} stands twice in the chain: take one out")
        names.add(step.name)
        missing = sorted(step.needs - known.keys())
        if missing:
            raise InputError(
                f"step {step.name!r} needs {', '.join(missing)}, which no step before it adds; "
                f"there are {', '.join(sorted(known)) or 'none'}"
            )
        twice = sorted(step.adds & known.keys())
        if twice:
            raise InputError(
                f"step {step.name!r} adds {twice[0]!r}, which {known[twice[0]]!r} has added before"
            )
        known.update(dict.fromkeys(step.adds, step.name))


def origins(chain: Sequence[Placed]) -> dict[str, str]:
    """How derived fields are made, gathered from the steps that say so (``origin()``).

    Steps load or look for their weights here, so a missing weight is told before any clip is read.
    """
    found: dict[str, str] = {}
    for placed in chain:
        origin = getattr(placed.step, "origin", None)
        if origin is not None:
            found.update(origin())
    return found


def ready(chain: Iterable[Placed]) -> list[Step]:
    """Copies of the steps, set up; the recipe's own stay light and picklable."""
    steps = [copy.copy(placed.step) for placed in chain]
    for step in steps:
        step.setup()
    return steps


def do(
    steps: Sequence[Step], work: Work, tell: Callable[[str], None] = lambda name: None
) -> Iterator[Work]:
    """Takes one clip through steps, one part to the end before the next: memory stays constant.

    A step that raises drops this clip as failed and nothing else. A step that gives nothing for a
    clip is our mistake, but the clip still gets its row.

    Args:
        steps: set up.
        work: the clip.
        tell: told the name of a step before it starts.
    """
    if work.clip.drop or not steps:
        yield work
        return
    tell(steps[0].name)
    for part in _one(steps[0], work):
        yield from do(steps[1:], part, tell)


def _one(step: Step, work: Work) -> list[Work]:
    start = time.perf_counter()
    clip = work.clip
    try:
        clips = list(step([clip]))
    except Exception as error:  # one clip's trouble must not end the others' run
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"step {step.name}: {error.strerror}; make room, then run again"
            ) from error  # the disk's trouble, not this clip's: every clip would fail
        if isinstance(error, InputError):
            log.debug("%s: %s: %s", clip.source, step.name, error)
        else:
            log.warning("%s: step %s failed", clip.source, step.name, exc_info=error)
        clips = [clip.failed(step.name, error)]
    if not clips:
        clips = [clip.failed(step.name, RuntimeError("the step gave nothing for this clip"))]
    for after in clips:
        _honest(step, clip, after)
    spent = time.perf_counter() - start
    share = work.share / len(clips)
    first = {**work.seconds, step.name: work.seconds.get(step.name, 0.0) + spent}
    # Time already spent is carried by the first part only: sums over parts stay true.
    return [
        replace(work, clip=after, share=share, seconds=first if i == 0 else {})
        for i, after in enumerate(clips)
    ]


def _honest(step: Step, before: Clip, after: Clip) -> None:
    """Holds a step to what it declares: unchecked declarations rot."""
    if after.drop:
        return
    new = after.fields.keys() - before.fields.keys()
    assert new <= step.adds, f"step {step.name!r} added {sorted(new - step.adds)} undeclared"
    owed = {name for name in step.adds if name not in SCHEMA or SCHEMA[name].required}
    absent = owed - after.fields.keys()
    assert not absent, f"step {step.name!r} did not add {sorted(absent)}"
