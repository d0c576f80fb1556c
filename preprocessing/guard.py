"""The chain in a process of its own: a file that crashes or hangs a decoder costs one row.

Media libraries are large and files come from strangers. An exception is caught where it happens;
a segmentation fault, an endless loop or the kernel's out-of-memory killer can only be survived from
outside (docs/decisions/0009). Both runners take every clip through a ``Guard``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

from core.errors import InputError
from preprocessing.plan import Placed, Work

LOOK_S = 1.0


class Guard:
    """Takes clips through steps in a child process, which is replaced when it dies or hangs.

    Args:
        chain: the steps; they travel pickled.
        folder: where finished samples are written; None when other steps follow elsewhere.
    """

    def __init__(self, chain: Sequence[Placed], folder: Path | None) -> None:
        self._chain, self._folder = list(chain), folder
        self._limits = {placed.step.name: placed.limit_s for placed in chain}
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()  # it holds nothing: samples are written whole or not at all
            self._child.wait()
        self._pipe = self._child = None

    def do(self, work: Work) -> Iterator[Work]:
        """Takes one clip through the steps.

        Yields:
            Every finished part. When the child dies or a step takes longer than its ``limit_s``,
            what is left of the clip comes back failed.

        Raises:
            InputError: the child could not go on for a reason that a person can mend.
            RuntimeError: the steps could not be set up, or broke their own promises.
        """
        if work.clip.drop:
            yield work
            return
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        left, step, done = work.share, self._chain[0].step.name, False
        try:
            self._pipe.send(work)
            while (told := self._told(step))[0] != "done":
                if told[0] == "step":
                    step = told[1]
                else:
                    left -= told[1].share
                    yield told[1]
            done = True
        except (EOFError, ConnectionError, TimeoutError) as error:
            why = error if isinstance(error, TimeoutError) else self._death()
            self.close()
            yield replace(work, clip=work.clip.failed(step, why), share=left)
        finally:
            if not done:  # a child that was left in the middle would answer the wrong question
                self.close()

    def _start(self) -> None:
        ours, theirs = Pipe()
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "preprocessing.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        theirs.close()
        self._pipe = ours
        try:
            self._pipe.send((self._chain, self._folder))
            self._told(None)
        except (EOFError, ConnectionError) as error:
            why = self._death()
            self.close()
            raise RuntimeError(f"the steps could not be set up: {why}") from error

    def _told(self, step: str | None) -> tuple[str, Any]:
        """What the child says next: of ready, step, part, done, stop."""
        assert self._pipe is not None
        waited_s = 0.0
        while not self._pipe.poll(LOOK_S):
            # Counted in looks, not by the clock: a run that was paused for an hour has not hung.
            waited_s += LOOK_S
            if step is not None and waited_s >= self._limits[step]:
                raise TimeoutError(f"not done after {waited_s:g} s (Placed.limit_s)")
        kind, value = self._pipe.recv()
        if kind == "stop":
            self.close()
            mendable, text = value
            raise InputError(text) if mendable else RuntimeError(text)
        return kind, value

    def _death(self) -> ChildProcessError:
        """How the child ended."""
        assert self._child is not None
        try:
            code = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return ChildProcessError("the worker stopped answering")
        if code < 0:
            return ChildProcessError(f"the worker was ended by {signal.Signals(-code).name}")
        return ChildProcessError(f"the worker ended with status {code}")
