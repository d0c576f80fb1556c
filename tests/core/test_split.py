from __future__ import annotations

from collections import Counter

import pytest

from core.split import SPLITS, TEST, VAL, split_of

FOR_EVER = {
    "mead_M003": "train",
    "hdtf_AmyKlobuchar": "train",
    "mead_M007": "val",
    "ravdess_23": "val",
    "mead_M016": "test",
    "mead_M024": "test",
    "id12": "val",
    "id14": "test",
}
"""Never edit these: whoever was held out of one training must be held out of all."""


@pytest.mark.parametrize(("speaker", "split"), FOR_EVER.items())
def test_a_speakers_split_never_changes(speaker, split):
    assert split_of(speaker) == split


def test_fractions_are_those_promised():
    counts = Counter(split_of(f"speaker-{i}") for i in range(20_000))
    assert set(counts) == set(SPLITS)
    assert abs(counts["val"] / 20_000 - VAL) < 0.005
    assert abs(counts["test"] / 20_000 - TEST) < 0.005
