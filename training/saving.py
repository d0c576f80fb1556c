"""Resumable states written in the background: training waits for a copy, not for a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from training import checkpointing, optim
from training.checkpointing import Identity, Run


class Saver:
    """Writes one state at a time; the next waits for the one before.

    Args:
        out: checkpoint folder. who: identity of the run.
        saved: told of each state that is on disk.
    """

    def __init__(
        self, out: Path, who: Identity, saved: Callable[[Path], None] = lambda folder: None
    ) -> None:
        self._out, self._who, self._saved = out, who, saved
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, run: Run) -> None:
        """Copies the run's tensors and starts to write them; every worker calls it, one writes."""
        self.wait()
        state = checkpointing.snapshot(run)
        if optim.rank() == 0:
            self._thread = threading.Thread(target=self._write, args=(state,), name="state")
            self._thread.start()

    def _write(self, state: checkpointing.State) -> None:
        try:
            self._saved(checkpointing.write_state(self._out, state, self._who))
        except Exception as error:  # noqa: BLE001 - told on the training thread
            self._error = error

    def wait(self) -> None:
        """Until the last state is on disk.

        Raises:
            InputError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
