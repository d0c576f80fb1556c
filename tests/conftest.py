"""Fixtures: real clips and weights when they are there; a skip that names what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("FLASHLIPS_SHARED", REPO.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no folder of shared material at {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def clips(shared: Path) -> Path:
    if not (shared / "clips").is_dir():
        pytest.skip("no real clips at shared/clips beside the checkout")
    return shared / "clips"


@pytest.fixture(scope="session")
def store():
    from core.weights import Store

    folders = [REPO / "weights"]
    if (SHARED / "weights").is_dir():
        folders.append(SHARED / "weights")
    found = Store(tuple(folders))
    if not found.has("face_landmark"):
        pytest.skip("face_landmark is not in weights/: run 'flashlips weights fetch'")
    return found
