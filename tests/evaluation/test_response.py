"""Known damages make known curves, and somebody can look at them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import InputError
from evaluation.metrics.flicker import Flicker
from evaluation.metrics.leakage import Leakage
from evaluation.metrics.on_crops import OnCrops
from evaluation.metrics.psnr import CEILING_DB, Psnr
from evaluation.metrics.ssim import Ssim
from evaluation.metrics.video_lmd import VideoLmd
from evaluation.report import Report
from evaluation.response import DAMAGES, Curve, damaged, plot, response
from evaluation.response_page import MEANT, add_response, deaf, rows
from evaluation.video_report import directions
from tests.evaluation.drawn_videos import drawn, talk, video_case

SOURCE = drawn(talk(12))
MEASURED = Path(__file__).parents[2] / "bench" / "results" / "response.json"
METRICS = [OnCrops(Psnr()), OnCrops(Ssim()), VideoLmd(), Flicker(), Leakage()]
OTHER = drawn(talk(12, phase=2.0), wide=1.15, seed=4, name="bert")


@pytest.fixture(scope="module")
def curves():
    found = response(video_case(source=SOURCE), METRICS, OTHER)
    return {(curve.damage, curve.number): curve for curve in found}


def test_psnr_falls_with_every_damage(curves):
    for damage in ("blur", "noise", "shift", "brightness", "other person"):
        values = curves[damage, "psnr"].values
        assert values[0] == CEILING_DB
        assert all(a > b for a, b in pairwise(values)), damage
    assert curves["other person", "psnr"].values[1] < curves["shift", "psnr"].values[1]
    assert {len(curve.values) - len(curve.strengths) for curve in curves.values()} == {0}
    assert curves["shift", "psnr"].strengths == (0, 1, 3, 5)


def test_landmarks_see_a_shift_and_no_brightness(curves):
    late = curves["shift", "lmd"].values
    assert late[0] == 0
    assert list(late) == sorted(late)
    assert late[-1] > 1
    assert set(curves["brightness", "lmd"].values) == {0}


def test_metrics_of_another_kind_are_not_asked(curves):
    assert not any(number.startswith("leakage") for _, number in curves)
    with pytest.raises(InputError, match="silent"):
        response(video_case("silent", source=SOURCE), [OnCrops(Psnr())])


def test_damages_are_what_they_say():
    blur, noise, shift, brightness = DAMAGES
    soft = damaged(SOURCE, blur, 2.0)
    np.testing.assert_array_equal(soft.crops[3], cv2.GaussianBlur(SOURCE.crops[3], (0, 0), 2.0))
    grey = replace(SOURCE, crops=np.full_like(SOURCE.crops, 128))
    assert damaged(grey, noise, 6.0).crops.std() == pytest.approx(6, abs=0.1)
    assert (damaged(grey, brightness, 15).crops == 143).all()
    assert (damaged(replace(grey, crops=grey.crops + 100), brightness, 45).crops == 255).all()
    late = damaged(SOURCE, shift, 3)
    for name in ("frames", "crops", "mesh"):
        was, now = getattr(SOURCE, name), getattr(late, name)
        np.testing.assert_array_equal(now[3:], was[:-3])
        np.testing.assert_array_equal(now[:3], was[[0, 0, 0]])
    assert (soft.mesh == SOURCE.mesh).all()


def test_damaged_crops_can_be_measured_anew():
    seen = iter(range(100))

    def mesh_of(crop):
        return None if next(seen) == 2 else SOURCE.mesh[0] + 1

    found = damaged(SOURCE, DAMAGES[0], 1.0, mesh_of)
    assert list(np.flatnonzero(~found.found)) == [2]
    np.testing.assert_array_equal(found.mesh[0], SOURCE.mesh[0] + 1)


def test_the_plot_is_a_picture(curves, tmp_path):
    path = plot(list(curves.values()), tmp_path / "curves.png")
    picture = cv2.imread(str(path))
    assert min(picture.shape[:2]) > 200
    assert picture.std() > 5
    with pytest.raises(InputError, match="no curve"):
        plot([], path)


def ways(curves):
    return directions({m.name: m for m in METRICS}, [c.number for c in curves])


def test_each_number_gets_worse_step_by_step_where_it_is_meant_to(curves):
    found = list(curves.values())
    assert deaf(found, ways(found)) == []
    asked = {c.number for c in found if c.damage in MEANT.get(c.number, ())}
    assert asked == {"psnr", "mouth_psnr", "ssim", "mouth_ssim", "lmd", "lmd_shape", "flicker"}
    backwards = Curve("blur", "px", "psnr", (0, 1, 2), (30.0, 20.0, 25.0))
    assert deaf([backwards], {"psnr": "higher"}) == ["psnr: blur"]


def test_the_measured_responses_are_those_that_are_meant():
    found = json.loads(MEASURED.read_text())
    assert found["deaf"] == []
    meant = {(r["number"], r["damage"]) for r in found["curves"] if r["meant"]}
    assert meant == {(number, damage) for number, damages in MEANT.items() for damage in damages}
    assert all(r["worsens"] for r in found["curves"] if r["meant"])
    assert any(r["number"].startswith("random/") for r in found["curves"])


def test_a_page_has_a_panel_for_each_number(curves):
    found = list(curves.values())
    report = add_response(Report("x"), found, ways(found))
    text = report.html(report.json())
    assert text.count('class="panel"') == 7
    assert "flicker source" not in text
    assert "sigma, px" in text
    assert rows(found, ways(found))[0]["strengths"][0] == 0
