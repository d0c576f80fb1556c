"""Dummy shards; the repository's root on the path, so that Ray's workers find the dummy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    from tests.training import dummy

    return dummy.write_clips(tmp_path_factory.mktemp("shards"))


@pytest.fixture
def nothing():
    from core.weights import Store

    return Store(())
