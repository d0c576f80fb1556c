"""Results: keys, merging, intervals, paired differences, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import InputError
from evaluation.metrics import standard
from evaluation.metrics.psnr import Psnr
from evaluation.observer import Observer
from evaluation.runner import evaluate
from tests.evaluation.scenes import case, dark_mesh


def worse(one, sigma, system):
    noise = np.random.default_rng(0).normal(0, sigma, one.truth.shape)
    output = np.clip(one.truth + noise, 0, 255).astype(np.uint8)
    return replace(one, output=output, system=system)


@pytest.fixture
def cases():
    anna, bert = case(24, "anna"), case(30, "b.ert")
    return [worse(one, s, n) for one in (anna, bert) for s, n in ((2, "ours"), (9, "theirs"))]


def test_keys_have_three_parts(cases):
    values = evaluate(cases, [Psnr()]).values()
    assert set(values) == {f"{c}.{s}.psnr" for c in ("anna", "b_ert") for s in ("ours", "theirs")}
    assert values["anna.ours.psnr"] > values["anna.theirs.psnr"] + 5


def test_merging_parts_in_any_order_equals_one_pass(cases):
    metrics = standard(Observer(dark_mesh))
    whole = evaluate(cases, metrics)
    parts = [evaluate([one], metrics) for one in cases]
    merged = parts[2].merged(parts[0], parts[3], parts[1], parts[0])
    assert merged.values() == whole.values()
    assert merged.intervals(draws=20) == whole.intervals(draws=20)


def test_clips_of_one_corpus_are_reduced_together(cases):
    corpus = [replace(one, name="all") for one in cases]
    values = evaluate(corpus, [Psnr()]).values()
    rows = [Psnr().observe(one)["psnr"] for one in cases if one.system == "ours"]
    assert values["all.ours.psnr"] == pytest.approx(np.concatenate(rows).mean())


def test_intervals_hold_the_values(cases):
    results = evaluate(cases, [Psnr()])
    values = results.values()
    for key, (low, high) in results.intervals(draws=100).items():
        assert low <= values[key] <= high


def test_the_better_system_is_told_with_certainty(cases):
    results = evaluate(cases, [Psnr()])
    gain = results.difference("anna", "ours", "theirs", "psnr", draws=100)
    assert gain.above_zero
    assert gain.value == pytest.approx(
        results.values()["anna.ours.psnr"] - results.values()["anna.theirs.psnr"]
    )
    assert not results.difference("anna", "theirs", "ours", "psnr", draws=100).above_zero
    with pytest.raises(InputError, match="same frames"):
        results.difference("anna", "ours", "nobody", "psnr")


def test_what_does_not_fit_is_refused():
    one = case(6)
    with pytest.raises(InputError, match=r"anna\.ours"):
        evaluate([replace(one, output=one.output[:5])], [Psnr()])
    with pytest.raises(InputError, match="give one for each"):
        evaluate([replace(one, asked=one.asked[:5])], [Psnr()])


def test_progress_is_told(cases):
    told = []
    evaluate(cases, [Psnr()], lambda *what: told.append(what))
    assert [t[1] for t in told] == [1, 2, 3, 4]
