"""The guarded side of ``preprocessing.guard``: ``python -m preprocessing.worker FD``.

Ends with its parent, however that ends.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from core.errors import InputError
from preprocessing.pack import keep
from preprocessing.plan import do, ready


def serve(pipe: Connection) -> None:
    """Sets the steps up, then takes clips through them until the pipe closes."""
    asked: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(pipe, asked), daemon=True).start()
    try:
        chain, folder = asked.get()
        steps = ready(chain)
        pipe.send(("ready", None))
        while True:
            for part in do(steps, asked.get(), lambda name: pipe.send(("step", name))):
                pipe.send(("part", part if folder is None else keep(part, folder)))
            pipe.send(("done", None))
    except InputError as error:
        pipe.send(("stop", (True, str(error))))
    except Exception:  # noqa: BLE001  the parent raises it
        pipe.send(("stop", (False, traceback.format_exc())))


def _listen(pipe: Connection, asked: queue.Queue[Any]) -> None:
    """Hands on what the parent says; a parent that is gone ends this process at once."""
    try:
        while True:
            asked.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(0)
    except Exception as error:  # noqa: BLE001  a chain that can't be unpickled
        pipe.send(("stop", (False, f"a step can't travel to its worker: {error!r}")))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    serve(Connection(int(sys.argv[1])))
