"""Ten seeded losses of each stage, stored: numerics change on purpose or not at all.

On purpose: ``python bench/numerics.py tests/models/flashlips/losses.json``, said in the commit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import numerics
from bench.same_numerics import compare, first_difference
from core.files import read_json

STORED = read_json(Path(__file__).with_name("losses.json"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    before = torch.get_num_threads()
    yield numerics.run(tmp_path_factory.mktemp("first"))
    torch.set_num_threads(before)


@pytest.mark.parametrize("stage", STORED)
def test_losses_are_the_stored_ones(found, stage):
    assert len(STORED[stage]) == numerics.STEPS
    assert found[stage]["losses"] == pytest.approx(STORED[stage], rel=1e-4)


def test_every_stage_has_stored_losses(found):
    assert found.keys() == STORED.keys()


def test_two_runs_with_one_seed_are_identical(found, tmp_path):
    assert numerics.run(tmp_path) == found


def test_two_revisions_are_compared_step_by_step():
    base = {"one": {"losses": [3.0, 2.0, 1.0], "weights": {"a": "x", "b": "y"}}}
    head = {"one": {"losses": [3.0, 2.5, 1.0], "weights": {"a": "x", "b": "z"}}}
    assert compare(base, base) == [("one", "3 steps same", "same", True)]
    (row,) = compare(base, head)
    assert row[1] == "differ from step 2 on: 2.0 and 2.5"
    assert row[2:] == ("1 of 2 differ, first b", False)
    assert [r[3] for r in compare(base, {**base, "two": base["one"]})] == [True, False]
    assert first_difference([1.0, 2.0], [1.0]) == 2
