from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.clip import Clip
from core.weights import Store
from preprocessing.steps.quality import Quality


@pytest.fixture(scope="module")
def crops():
    photo = pytest.importorskip("skimage.data").astronaut()[:256, 100:356]
    return np.stack([cv2.resize(photo, (128, 128), interpolation=cv2.INTER_AREA)] * 5)


def _run(crops, **settings):
    step = Quality("niqe", Store(()), **settings)
    step.setup()
    (clip,) = step([Clip("x", "x.mp4", fields={"crop": crops})])
    return step, clip


def test_the_score_is_noted_and_nothing_is_rejected_unasked(crops):
    step, clip = _run(crops)
    assert clip.drop is None
    assert step.origin()["quality"].startswith("niqe-fitted@")
    blurred = np.stack([cv2.GaussianBlur(c, (0, 0), 4) for c in crops])
    worse = _run(blurred)[1]
    assert worse.drop is None
    assert worse.facts["quality"] > clip.facts["quality"]
    limit = (worse.facts["quality"] + clip.facts["quality"]) / 2
    assert _run(crops, most_niqe=limit)[1].drop is None
    drop = _run(blurred, most_niqe=limit)[1].drop
    assert drop is not None
    assert (drop.reason, drop.value, drop.threshold) == (
        "image quality too low", worse.facts["quality"], limit,
    )  # fmt: skip


def test_the_other_measures_limit_does_not_count(crops):
    assert _run(crops, least_hyper_iqa=99.0)[1].drop is None
