"""Edits fuzzed inputs in a process of its own, which may die or hang of them and be replaced."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np

from core.contracts import PredictorSpec
from core.errors import InputError
from core.media.crop import FLASHLIPS_128
from core.media.video import probe, read_frames
from core.testing import DummyPredictor
from core.weights import Store
from inference.footage import Span
from inference.report import report_path
from inference.sync import sync

CROPS = PredictorSpec(FLASHLIPS_128, 25.0, window=8, overlap=2, references=4)
WHOLE = PredictorSpec(None, 25.0, window=8, overlap=2, references=2, region="frame")
LIMIT_S = 300.0
"""For an edit of a second of small video: a hang, even on a machine that does ten other things."""
START_S = 300.0
MEMORY = 8 << 30
"""Bytes of address space; more is asked for by a damaged number only."""


@dataclass(frozen=True)
class Case:
    """An edit to try.

    Attributes:
        name: which number, what was damaged and how.
        video, audio, out: paths; ``damaged`` is the one of the first two that is.
        crops: whether faces are tracked and their crops edited, or whole frames.
        span: part and length.
    """

    name: str
    video: Path
    audio: Path
    damaged: Path
    out: Path
    crops: bool
    span: Span


Work = Callable[[Case, Store], tuple[str, str]]


class Worker:
    """A process that edits one case after the other; a new one where it died or hung.

    Args:
        weights: folders of the tracker's weights.
        work: what it does with a case: ``edited``, but for tests of this class.
    """

    def __init__(self, weights: tuple[Path, ...], work: Work | None = None) -> None:
        self._given = weights, work or edited
        self._process = self._pipe = None

    def do(self, case: Case) -> tuple[str, str]:
        """How it went (``edited``, ``refused``, ``wrong``, ``crash``, ``hang``), and more of it."""
        if self._process is None:
            self._start()
        self._pipe.send(case)
        try:
            if self._pipe.poll(LIMIT_S):
                return self._pipe.recv()
        except (EOFError, ConnectionError):
            return "crash", self._death()
        self.close()
        return "hang", f"not done after {LIMIT_S:g} s"

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None

    def _start(self) -> None:
        fresh = multiprocessing.get_context("spawn")
        self._pipe, theirs = fresh.Pipe()
        self._process = fresh.Process(target=serve, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()  # else its end would not be heard
        assert self._pipe.poll(START_S), "the worker did not start"
        assert self._pipe.recv() == "ready"

    def _death(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        self.close()
        return f"ended by {signal.Signals(-code).name}" if code and code < 0 else f"status {code}"


def serve(pipe: Connection, weights: tuple[Path, ...], work: Work) -> None:
    """What the process does: cases in, how they went out, until the pipe is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    store = Store(weights)
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(work(case, store))


def edited(case: Case, store: Store) -> tuple[str, str]:
    """Edits a case and looks at what came out."""
    predictor = DummyPredictor(CROPS if case.crops else WHOLE)
    try:
        sync(case.video, case.audio, case.out, predictor, store, span=case.span)
        return "edited", looked_at(case)
    except InputError as error:
        return "refused", str(error)
    except BaseException:  # noqa: BLE001 - whatever it is, it is a finding
        return "wrong", traceback.format_exc()


def looked_at(case: Case) -> str:
    """One line about OUT, once its report was found to say what is in it."""
    said = json.loads(report_path(case.out).read_text(), parse_constant=strict)
    shown = list(read_frames(case.out))
    times = np.array([time for time, _ in shown])
    info = probe(case.out)
    assert len(shown) == said["frames"] > 0, (len(shown), said["frames"])
    assert (np.diff(times) > 0).all(), times
    assert (info.width, info.height) == (said["width"] * (1 + case.span.preview), said["height"])
    runs = [(run["first"], run["last"]) for run in said["untouched"]]
    assert all(0 <= first <= last < len(shown) for first, last in runs), runs
    assert all(before[1] < after[0] for before, after in pairwise(runs)), runs
    assert said["edited"] + sum(last - first + 1 for first, last in runs) == said["frames"], said
    assert (said["video"], said["audio"]) == (str(case.video), str(case.audio))
    if case.span == Span():
        assert len(shown) == sum(1 for _ in read_frames(case.video)), "frames of VIDEO"
    with av.open(str(case.out)) as container:
        assert len(container.streams.audio) >= 1, "no sound"
        heard = sum(frame.samples for frame in container.decode(audio=0))
    return f"{len(shown)} frames, {said['edited']} edited, {heard} samples"


def strict(constant: str) -> Any:
    """No number of a report may be NaN or infinite: that is no JSON."""
    raise AssertionError(f"{constant} in the report")
