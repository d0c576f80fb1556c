"""Wheels, panels, papers' figures and comparisons: outward is better, and nothing is mixed."""

from __future__ import annotations

import csv
import json
import math
import re
from itertools import pairwise

import pytest

from core.errors import InputError
from evaluation import tables
from evaluation.ablation import ablation, drawn, printed
from evaluation.comparison import compare
from evaluation.differences import verdict
from evaluation.panels import Point, panel
from evaluation.published import MARK, published
from evaluation.published.runs import PREFIX, reference_runs, tables_for
from evaluation.radar import INNER, RIM, radar
from evaluation.report import Report
from evaluation.stats import Interval
from evaluation.video_numbers import judged, layout
from evaluation.video_report import directions
from tests.evaluation.test_report import Page

WAYS = {"psnr": "higher", "lmd": "lower", "ssim": "higher", "fid": "lower", "slope": "one"}


def scores(system, benchmark="reconstruction@1", card=None, **numbers):
    """A result of ten videos around the given numbers, as ``scores.json`` holds it."""
    videos = {
        f"v{k}": {n: v if v is None else v + 0.01 * k for n, v in numbers.items()}
        for k in range(10)
    }
    return {
        "system": system, "benchmark": benchmark, "manifest": {"hash": "abc"}, "pairs": 10,
        "measured": 10, "complete": True, "values": numbers, "videos": videos, "failures": {},
        "intervals": {n: [v - 0.1, v + 0.1] for n, v in numbers.items() if v is not None},
        "directions": WAYS, "checkpoint": card, "revision": "r",
    }  # fmt: skip


THREE = [
    scores("one", psnr=30.0, lmd=0.5, ssim=0.9, fid=20.0),
    scores("two", psnr=33.0, lmd=0.7, ssim=0.8, fid=10.0),
    scores("three", psnr=30.0, lmd=0.6, ssim=0.7, fid=15.0),
]


def reach(wheel, system, axis):
    """How far out a system's corner lies, 0 to 1."""
    at = next(k for k, a in enumerate(wheel.axes) if a.name.startswith(axis))
    x, y = next(p for p in wheel.polygons if p.name == system).corners[at]
    return math.hypot(x - RIM, y - RIM) / RIM


def test_outward_is_better_whichever_way_a_number_is():
    wheel = radar({r["system"]: r["values"] for r in THREE}, WAYS)
    assert reach(wheel, "two", "PSNR") == pytest.approx(1)
    assert reach(wheel, "one", "PSNR") == pytest.approx(INNER)
    assert reach(wheel, "one", "LMD") == pytest.approx(1), "the lowest is the best"
    assert reach(wheel, "two", "LMD") == pytest.approx(INNER)
    assert INNER < reach(wheel, "three", "FID") < 1
    assert [p.name for p in wheel.polygons] == ["one", "two", "three"]
    lmd = next(a for a in wheel.axes if a.name.startswith("LMD"))
    assert (lmd.best, lmd.worst) == ("0.500", "0.700")


def test_what_is_no_axis_is_said():
    systems = {
        "a": {"psnr": 1.0, "lmd": 1.0, "ssim": 1.0, "fid": 1.0, "slope": 1.0, "random/fvd": 1.0,
              "fvd": 2.0},
        "b": {"psnr": 2.0, "lmd": 2.0, "ssim": math.nan, "fid": 1.0, "slope": 2.0,
              "random/fvd": 2.0, "fvd": 1.0},
    }  # fmt: skip
    wheel = radar(systems, WAYS | {"random/fvd": "lower", "fvd": "lower"})
    assert [a.name[:3] for a in wheel.axes] == ["LMD", "FVD", "PSN"]
    said = "; ".join(wheel.left_out)
    assert "SSIM (not measured for b)" in said
    assert "FID (the same for all)" in said
    assert "slope (neither more nor less of it is better)" in said
    assert "random/fvd (its net is random)" in said
    assert radar(systems, {"psnr": "higher", "lmd": "lower"}) is None, "two axes enclose nothing"
    assert radar({"a": systems["a"]}, WAYS) is None, "one system has nothing to be set against"


def test_a_panel_keeps_order_ends_and_gaps():
    made = panel(
        "x_y", {"a": [Point(1, 5.0, (4.0, 6.0)), Point(0, 1.0), Point(2, math.nan)]}, "abc"
    )
    (line,) = made.lines
    assert made.title == "x y"
    assert [round(d.x) for d in line.dots] == [17, 50]
    low, high = line.dots
    assert low.y > high.y, "up is more"
    assert high.ends[0] < high.y < high.ends[1]
    assert low.ends is None
    assert line.path.count("L") == 1


def test_reference_runs_share_no_name_with_ours():
    runs = reference_runs()
    assert sum(len(run.values) for run in runs) == len(published())
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        assert all(name.startswith(PREFIX) for name in run.values)
        assert run.tags["mark"] == MARK
        assert MARK in run.name
        assert {"paper", "table", "setting"} <= run.tags.keys()
    one = next(r for r in runs if r.tags["system"] == "TalkLip" and r.tags["table"] == "1")
    assert one.values["published/PSNR"] == 32.03


@pytest.mark.parametrize(
    ("benchmark", "setting"),
    [("reconstruction@1", "reconstruction"), ("cross_audio@1", "cross-audio"), ("clips@1", None),
     ("aigc@1", None), ("silence@1", None)],
)  # fmt: skip
def test_papers_stand_beside_the_benchmark_that_asks_the_same(benchmark, setting, tmp_path):
    results = [{**r, "benchmark": benchmark} for r in THREE]
    text = compare(results, tmp_path).read_text()
    assert ("Published figures" in text) == (setting is not None)
    assert {t.setting for t in tables_for(benchmark)} == ({setting} - {None})
    assert (MARK in text) == (setting is not None)


def test_no_best_mark_and_no_polygon_is_a_papers(tmp_path):
    text = compare(THREE, tmp_path).read_text()
    page = Page(text)
    assert not page.open
    assert all(link.startswith(("data:", "#")) for link in page.links)
    at = text.index('id="published-figures"')
    ours, theirs = text[:at], text[at : text.index("<footer>")]
    rows = re.findall(r'<th scope="row">([^<]+)</th><td class="standing">([^<]+)</td>', theirs)
    assert len(rows) == sum(len(t.rows) for t in tables_for("reconstruction@1"))
    assert {mark for _, mark in rows} == {MARK}
    assert "best" not in theirs
    assert "diff" not in theirs.replace("Diff2Lip", "").replace("DiffDub", "")
    assert "polygon" not in theirs
    assert ours.count('class="system"') == len(THREE)
    assert not any(row.system in ours for row in published())
    assert ours.count('class="best"') == 4


def test_a_real_difference_is_marked_in_every_form(tmp_path):
    text = compare(THREE, tmp_path).read_text()
    assert 'class="diff better"' in text
    assert 'class="diff worse"' in text
    found = json.loads((tmp_path / "compare.json").read_text())
    assert found["against"] == "one"
    told = found["differences"]["two"]
    assert (told["psnr"]["verdict"], told["lmd"]["verdict"]) == ("better", "worse")
    assert told["psnr"]["value"] == pytest.approx(3)
    assert found["differences"]["three"]["psnr"]["verdict"] == "", "the same is no difference"
    assert [s["system"] for s in found["systems"]] == ["one", "two", "three"]
    assert {row["mark"] for row in found["published"]} == {MARK}
    with (tmp_path / "differences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["verdict"] for r in rows if r["system"] == "two"} == {"better", "worse"}
    tex = (tmp_path / "table.tex").read_text()
    assert "33.00$^{+}$" in tex
    assert "0.700$^{-}$" in tex
    assert verdict(Interval(1, 0.5, 2), "one") == "different"
    assert verdict(Interval(1, -0.5, 2), "higher") == ""


def test_what_can_not_be_compared_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="one result can't be compared"):
        compare(THREE[:1], tmp_path)
    with pytest.raises(InputError, match="two results are called one"):
        compare([THREE[0], THREE[0]], tmp_path)
    other = {**THREE[1], "manifest": {"hash": "x"}}
    with pytest.raises(InputError, match="only results on the same videos"):
        compare([THREE[0], other], tmp_path)


def nano(refs, main=8, residual=4):
    encoder = {"main": main, "residual": residual}
    return {"references": refs, "net": {"lips_encoder": encoder, "latent": 32}}


def test_an_ablation_reads_the_cards_or_what_is_given():
    runs = [scores("nano", card=nano(k, main), psnr=20.0 + k) for k, main in ((16, 8), (4, 2))]
    assert ablation("refs", runs).values == ("16", "4")
    assert ablation("refs", runs).places == ("4", "16")
    assert ablation("lips", runs).values == ("8+4", "2+4")
    assert ablation("mask=with,without", runs).places == ("with", "without")
    for text, why in (
        ("mask", "does not tell mask; give --ablate mask=V,V"),
        ("net.depth", "does not tell net.depth"),
        ("refs=1,2,3", "names 3 values for 2 results"),
        ("net.latent", "all results have net.latent 32"),
    ):
        with pytest.raises(InputError, match=re.escape(why)):
            ablation(text, runs)
    with pytest.raises(InputError, match="card of theirs"):
        ablation("refs", [*runs, scores("theirs", psnr=1.0)])


def test_an_ablation_is_a_curve_over_its_values(tmp_path):
    runs = [scores("nano", card=nano(k), psnr=20.0 + k, ssim=0.5, lmd=None) for k in (16, 1, 4)]
    found = drawn(ablation("refs", runs), runs)
    assert [p.title for p in found.panels] == ["PSNR, dB\N{NO-BREAK SPACE}↑"], (
        "flat and missing ones say nothing"
    )
    (line,) = found.panels[0].lines
    assert [d.text.split(", ")[1] for d in line.dots] == ["1: 21.00", "4: 24.00", "16: 36.00"]
    assert all(a.y > b.y for a, b in pairwise(line.dots))
    assert all(d.ends for d in line.dots)
    text = compare(runs, tmp_path, "refs").read_text()
    assert "nano, refs 16" in text
    assert "Ablation: reference lips vectors" in text
    two = [*runs, *(scores("vit", card=nano(k), psnr=25.0 + k) for k in (1, 4))]
    assert drawn(ablation("refs", two), two).names == ("nano", "vit")
    with pytest.raises(InputError, match="two results are nano with 1"):
        drawn(ablation("refs=1,1,4", runs), runs)


@pytest.mark.parametrize(
    ("name", "places", "count"),
    [("refs", ["1", "4", "8", "16", "32"], 3), ("mask", ["with Mask", "Mask-free"], 1),
     ("lips", ["2", "4", "8", "16", "8+2", "8+4", "8+8", "8+16"], 2)],
)  # fmt: skip
def test_a_published_ablation_has_panels_of_its_own(name, places, count, tmp_path):
    (theirs,) = printed(name, "reconstruction@1").values()
    assert theirs.mark == MARK
    assert [t.label for t in theirs.panels[0].x_ticks] == places
    assert len(theirs.names) == count
    psnr = next(p for p in theirs.panels if p.title.startswith("PSNR"))
    drawn_at = {d.x for line in psnr.lines for d in line.dots}
    assert len(drawn_at) == len(places)
    assert len(printed(name, "clips@1")) == 2, "no setting fits: both are shown"
    runs = [scores(f"r{k}", psnr=20.0 + k) for k in range(len(places))]
    page = compare(runs, tmp_path, f"{name}={','.join(places)}").read_text()
    figures = re.findall(r'<figure( class="published")?>(.*?)</figure>', page, re.S)
    assert sum("ours" in body for _, body in figures) == 1
    assert all("FlashLips" in body for tag, body in figures if tag)
    assert not any("FlashLips" in body for tag, body in figures if not tag)
    assert printed("depth", "clips@1") == {}


def test_players_are_found_by_any_number_that_has_a_direction():
    found = {
        "videos": {"v": {"slope": 1.0, "flicker_source": 1.0, "zeal": 2.0, "psnr": None}},
        "directions": {
            "slope": "one",
            "flicker_source": "lower",
            "zeal": "higher",
            "psnr": "higher",
        },
    }
    assert judged(found, ("psnr", "lmd")) == "zeal"
    assert judged({**found, "directions": {}}) is None


def test_counts_and_the_sources_own_numbers_have_no_best():
    class Flicker:
        name, better = "flicker", "lower"

    assert directions({"flicker": Flicker()}, ["flicker", "flicker_source"]) == {"flicker": "lower"}
    values = {"a": {"psnr": 1.0, "ssim": 0.5, "fid_vectors": 3.0, "random/fid": 1.0},
              "b": {"psnr": 2.0, "ssim": 0.5, "fid_vectors": 4.0, "random/fid": 2.0}}  # fmt: skip
    made = layout(values, {}, WAYS | {"fid_vectors": "lower", "random/fid": "lower"})
    assert made.keys == ("psnr", "ssim", "fid_vectors", "random/fid")
    marks = [[cell.best for cell in row.cells] for row in made.rows]
    assert marks == [[False] * 4, [True, False, False, False]], "a place that all share is none"


def test_a_turned_table_holds_the_same_cells():
    made = layout({"a": {"psnr": 1.0}, "b": {"psnr": 2.0}}, {}, WAYS, {"b": {"psnr": "better"}})
    report = Report("x").add_laid_out("table", made)
    text = report.html(report.json())
    assert re.search(r'<tr><th scope="row">PSNR, dB.↑</th>.*1\.000.*2\.000.*▲', text, re.S)
    assert tables.MARKS["better"] in text
    assert not Page(text).open
