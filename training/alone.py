"""One run at a time in a checkpoint folder.

A worker whose driver was killed lives on for seconds and writes states; the rerun must wait it out.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from core.errors import InputError
from training import optim

LOCK = ".lock"
_PATIENCE_S = 60.0
_POLL_S = 0.1


@contextmanager
def alone(out: Path, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Holds ``out`` for this run; its first worker asks, all of them hear the answer.

    The system lets go of the lock when the process dies, however it dies.

    Args:
        out: checkpoint folder.
        patience_s: how long to wait for a run that is there.

    Raises:
        InputError: another run is still there then, or the folder can't be written.
    """
    with ExitStack() as stack:
        held = optim.rank() > 0 or _lock(out, patience_s, stack)
        if not optim.agree(held):
            raise InputError(
                f"another run trains into {out}: wait for its end, or choose another folder"
            )
        yield


def _lock(out: Path, patience_s: float, stack: ExitStack) -> bool:
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context((out / LOCK).open("a"))
    except OSError as error:
        raise InputError(f"can't write {out}: {error.strerror}; choose another folder") from error
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
