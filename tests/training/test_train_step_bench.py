"""The bench of a training step: what it counts, and the lever that was promised."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from training.recipes import flashlips as recipes

PATH = Path(__file__).parents[2] / "bench" / "train_step.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("train_step", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_decoded_crop_is_cheaper_by_two_and_a_half(bench):
    pytest.importorskip("diffusers")
    with torch.device("meta"):
        cases = bench.variants(bench.paper_windows(512), "taesd")
        chosen = [c for c in cases if c.name in (bench.PLAIN, "cached, 256 crop")]
        codecs = bench.paper_codecs()
        subject = bench.Subject(recipes.reconstruction(), codecs, chosen, 512, "meta")
        rows = bench.counted_on(subject)
    plain, crop = rows.values()
    assert plain["gflop"] == pytest.approx(10500, rel=0.03)  # an independent count gave 10.5 T
    assert plain["gflop"] / crop["gflop"] >= 2.5
    assert plain["gb"] / crop["gb"] >= 2.5


def test_traffic_counts_what_is_read_and_written(bench):
    x, y = torch.ones(10, 20), torch.ones(20, 5)
    with bench.Traffic() as traffic:
        x.t()
    assert traffic.bytes == 0
    with bench.Traffic() as traffic:
        x @ y
    assert traffic.bytes == 2 * (200 + 100 + 50)


def test_windows_lie_within_the_crop_and_hold_the_mouth(bench):
    for size in (256, 512):
        for top, bottom, left, right in bench.paper_windows(size).values():
            assert bottom - top == right - left
            assert 0 <= top < 0.55 * size // 8
            assert 0.8 * size // 8 < bottom <= size // 8
            assert left + right == size // 8
