"""Registered models on a sqlite file: aliases move, nothing stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage import Remote
from infra import registry
from infra.settings import Settings


def checkpoint(folder: Path, weights: bytes) -> Path:
    (folder / "stage").mkdir(parents=True, exist_ok=True)
    (folder / "stage" / "weights.safetensors").write_bytes(weights)
    return folder


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> Settings:
    return Settings(runs=tmp_path_factory.mktemp("registry") / "runs")


def walk(where: Settings, folder: Path) -> None:
    """What a team does in a week; the same on sqlite and on a server."""
    name = f"flashlips {folder.name}"
    assert registry.current(where, name) is None
    assert registry.promote(where, name) is None
    assert registry.versions(where, name) == []

    first = registry.register(where, name, checkpoint(folder / "a", b"1"), {"recipe_sha": "r"})
    assert (first.number, first.aliases, first.uri) == (1, ("challenger",), str(folder / "a"))
    again = registry.register(where, name, folder / "a", {"recipe_sha": "r"})
    assert again == first, "a retried task registers nothing new"
    assert registry.promote(where, name).aliases == ("challenger", "champion")

    checkpoint(folder / "a", b"2")  # trained again into the same folder
    second = registry.register(where, name, folder / "a", {"recipe_sha": "r"})
    assert (second.number, second.aliases) == (2, ("challenger",))
    assert registry.current(where, name, "champion").number == 1
    kept = registry.register(where, name, Remote("s3://bucket/kept"), {"recipe_sha": "s"})
    assert (kept.number, kept.uri) == (3, "s3://bucket/kept")
    assert registry.promote(where, name, 2).aliases == ("champion",)
    assert registry.current(where, name, "challenger") == kept
    assert [(v.number, v.aliases) for v in registry.versions(where, name)] == [
        (3, ("challenger",)),
        (2, ("champion",)),
        (1, ()),
    ]
    assert registry.current(where, name, "nobody") is None


def test_aliases_move(where, tmp_path):
    walk(where, tmp_path)


def test_without_mlflow_a_line_in_the_log_and_none(tmp_path, caplog):
    away = Settings(runs=tmp_path / "runs", tracking="http://127.0.0.1:9")
    assert registry.register(away, "flashlips", checkpoint(tmp_path / "a", b"1"), {}) is None
    assert registry.promote(away, "flashlips") is None
    assert registry.current(away, "flashlips", "champion") is None
    assert registry.versions(away, "flashlips") is None
    assert len([r for r in caplog.records if "registry at http://127.0.0.1:9" in r.message]) == 4
