from __future__ import annotations

import threading

import pytest

from core.ahead import ahead


def test_same_items_same_order():
    assert list(ahead(range(100), 3)) == list(range(100))
    assert list(ahead([], 1)) == []


def test_never_further_ahead_than_allowed():
    made = []

    def items():
        for index in range(20):
            made.append(index)
            yield index

    source = ahead(items(), 2)
    for index in source:
        assert (
            len(made) <= index + 1 + 2 + 1
        )  # in the consumer's hands, in the queue, in the thread's
    assert len(made) == 20


def test_errors_come_after_the_items_before_them():
    def items():
        yield 1
        raise ValueError("broken")

    source = ahead(items(), 4)
    assert next(source) == 1
    with pytest.raises(ValueError, match="broken"):
        next(source)


def test_a_consumer_that_stops_stops_the_thread():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    source = ahead(items(), 2)
    next(source)
    source.close()
    assert closed == ["ahead"]
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
