"""Work that runs ahead in a thread: decoding, editing and encoding overlap on two cores."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
END = object()
POLL_S = 0.1


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread that is at most ``depth`` of them ahead.

    What goes wrong while making an item is raised where it would have been given. When the consumer
    stops (``close``), so does the thread; it is not left waiting.
    """
    waiting: queue.Queue[Any] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    failure: list[BaseException] = []

    def work() -> None:
        try:
            _fill(items, waiting, stop)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            failure.append(error)
        finally:
            _put(waiting, END, stop)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not END:
            yield item
        if failure:
            raise failure[0]
    finally:
        stop.set()
        thread.join()


def _fill(items: Iterable[T], waiting: queue.Queue[Any], stop: threading.Event) -> None:
    """Makes items until there are no more or nobody wants them."""
    source = iter(items)
    try:
        for item in source:
            if not _put(waiting, item, stop):
                return
    finally:
        if isinstance(source, Generator):
            source.close()  # in the thread that runs it: it may hold an open file


def _put(waiting: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Puts an item when there is room; False when nobody wants it any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=POLL_S)
        except queue.Full:
            continue
        return True
    return False
