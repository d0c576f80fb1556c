"""Damaged files, by a seeded fuzzer: no crash, no hang, nothing lost.

``make fuzz`` sends 240 of them; CI a few. FUZZ_FILES and FUZZ_SEED choose others.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from core.shards import read_samples
from preprocessing import ledger
from preprocessing.recipes import PreprocessRecipe
from preprocessing.run import preprocess
from tests.mutations import MUTATIONS
from tests.preprocessing.odd_files import MPEG, even, uneven, write

FILES = int(os.environ.get("FUZZ_FILES", "20"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LIMIT_S = "120"
"""For one step over one file of a second: a hang, even on a machine that does ten other things."""


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
