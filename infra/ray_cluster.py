"""A Ray to work on: the cluster that the settings name, or one started here for the while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from infra.settings import settings


@contextmanager
def cluster() -> Iterator[None]:
    """Ray is there inside; one that was there before stays, one that was started here goes."""
    if ray.is_initialized():
        yield
        return
    # Without an address Ray joins whatever a 'ray start' on this machine left behind.
    where: dict[str, Any] = (
        {} if settings().cluster else {"address": "local", "include_dashboard": False}
    )
    ray.init(log_to_driver=False, logging_level=logging.WARNING, **where)
    try:
        yield
    finally:
        ray.shutdown()
