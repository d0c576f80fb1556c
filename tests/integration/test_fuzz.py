"""Damaged files, by a seeded fuzzer: no crash, no hang, nothing lost.

``make fuzz`` sends 240 of them; CI a few. FUZZ_FILES and FUZZ_SEED choose others.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.shards import read_samples
from preprocessing import ledger
from preprocessing.recipes import PreprocessRecipe
from preprocessing.run import preprocess
from tests.preprocessing.odd_files import MPEG, even, uneven, write

FILES = int(os.environ.get("FUZZ_FILES", "20"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LIMIT_S = "120"
"""For one step over one file of a second: a hang, even on a machine that does ten other things."""

Mutation = Callable[[bytearray, random.Random, list[bytes]], bytearray]


def flipped(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    for _ in range(rng.choice([1, 4, 30, 300])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def cut(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    return data[: rng.randrange(1, len(data))]


def holed(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 2000)]
    return data


def spliced(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    other = rng.choice(others)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def bad_header(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    start = rng.randrange(64)
    data[start : start + 256] = rng.randbytes(256)
    return data


def bad_numbers(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    """Extreme sizes, counts and times, near the start and near the end, where indexes lie."""
    for _ in range(rng.randrange(1, 12)):
        near = rng.randrange(min(3000, len(data) - 4))
        at = near if rng.random() < 0.5 else len(data) - 4 - near
        data[at : at + 4] = rng.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4, b"\0\0\0\1"])
    return data


MUTATIONS: list[Mutation] = [flipped, cut, holed, spliced, bad_header, bad_numbers]


def seeds(folder: Path) -> list[Path]:
    """A small whole file of each kind."""
    return [
        write(folder / "a.mp4", even(1.2)),
        write(folder / "b.mov", uneven(1.2)),
        write(folder / "c.mkv", even(1.2)),
        write(folder / "d.ts", even(1.4)),
        write(folder / "e.mpg", even(1.2), **MPEG),
        write(folder / "f.avi", even(1.2), acodec="mp2", rate=48_000),
    ]


def damaged(folder: Path, wholes: list[Path], count: int, seed: int) -> None:
    rng = random.Random(seed)
    others = [path.read_bytes() for path in wholes]
    for i in range(count):
        whole, mutation = rng.choice(wholes), MUTATIONS[i % len(MUTATIONS)]
        data = mutation(bytearray(whole.read_bytes()), rng, others)
        (folder / f"{i:04d} {mutation.__name__}{whole.suffix}").write_bytes(data)


def digest(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in folder.iterdir()
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_files_are_rows(tmp_path, monkeypatch):
    helpers = Path(__file__).parents[1] / "preprocessing"
    monkeypatch.syspath_prepend(str(helpers))
    monkeypatch.setenv("CHEAP_LIMIT", LIMIT_S)
    raw = tmp_path / "raw"
    raw.mkdir()
    damaged(raw, seeds(raw), FILES, SEED)
    before = digest(raw)
    recipe = replace(PreprocessRecipe(), steps="cheap_chain:steps")
    preprocess("folder", raw, tmp_path / "out", recipe)
    assert digest(raw) == before
    rows = ledger.read(tmp_path / "out" / ledger.LEDGER)
    assert sorted(r["source"] for r in rows) == sorted(before), "every file is a row"
    wholes = {r["source"]: r["outcome"] for r in rows if r["source"][1] == "."}
    assert set(wholes.values()) == {"ok"}, wholes
    for row in rows:
        assert row["outcome"] in ("ok", "rejected", "failed", "duplicate"), row
        assert row["outcome"] == "ok" or row["reason"], row
        # A decoder's trouble is one of our sentences: no crash, no hang, no bare exception.
        assert row["outcome"] != "failed" or row["reason"].startswith("InputError: "), row
        assert "Error: " not in row["dropped"].replace("InputError: ", ""), row
    kept = {(r["source"], r["kept"]) for r in rows if r["kept"]}
    assert len(list(read_samples(tmp_path / "out"))) == sum(n for _, n in kept)
    assert len(kept) < len(rows), "nothing was damaged enough"
