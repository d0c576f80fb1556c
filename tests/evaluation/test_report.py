"""The page stands alone, its numbers are those of the JSON, and nothing is moved by hand."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest

from core.errors import InputError
from evaluation import charts, gates, pictures, tables
from evaluation.report import VIDEO_LIMIT, Report, read_values
from evaluation.stats import Interval


class Page(HTMLParser):
    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.text, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "poster", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def report():
    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    made = Report("A <title> & more", "What it means.")
    made.note(codec="slim@1", checkpoint={"system": "flashlips"}, device="cpu")
    made.values(
        {"anna.ours.psnr": 26.123, "anna.nearest_frame.psnr": 23.0, "anna.codec.psnr": math.nan},
        {"anna.ours.psnr": (25.5, 26.8)},
    )
    made.add_section("First", "One.\n\nTwo.").add_section("Second").add_section("Third")
    made.add_gates([gates.at_least("gain", 2.0, 1.5, Interval(2, 1.6, 2.4))])
    made.add_gates([gates.at_most("lmd", 0.9, 0.65), gates.between("slope", math.nan, (0.6, 1.2))])
    made.add_numbers("anna", "anna", ["ours"])
    made.add_sheet("sheet", frames, frames[::-1], 4)
    made.add_curves("loss", {"total": ([0, 10, 20], [1.0, math.nan, 0.1])}, "step", "loss", True)
    made.add_video("clip", b"\0" * 100).add_video("big", b"\0" * (VIDEO_LIMIT + 1))
    made.add_speed({"editor": 61.0, "whole": 24.0}, 5.4)
    return made.add_card("card", {"system": "flashlips", "recipe": {"text": "long " * 40}})


def test_the_page_stands_alone_and_is_well_formed(report, tmp_path):
    _, path = report.write(tmp_path)
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert page.links
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "script" not in page.tags
    assert {"img", "video", "svg", "table"} <= set(page.tags)
    words = " ".join(page.text)
    assert "A <title> & more" in words
    assert "26.12" in words
    assert "25.50 … 26.80" in words
    assert "too big for this page" in words


def test_the_json_has_the_keys_machines_ask_for(report, tmp_path):
    path, _ = report.write(tmp_path)
    found = json.loads(path.read_text())
    assert found["anna.ours.psnr"] == 26.123
    assert found["anna.codec.psnr"] is None
    assert found["codec"] == "slim@1"
    assert found["gflop_per_frame"] == 5.4
    assert found["fps"] == {"editor": 61.0, "whole": 24.0}
    assert found["checkpoint"] == {"system": "flashlips"}
    assert {"machine", "date", "revision", "intervals", "curves"} <= found.keys()
    assert [gate["passed"] for gate in found["gates"]] == [True, False, None]
    assert found["curves"]["loss"]["total"]["y"] == [1.0, None, 0.1]
    values = read_values(path)
    assert set(values) == {"anna.ours.psnr", "anna.nearest_frame.psnr", "anna.codec.psnr"}
    assert math.isnan(values["anna.codec.psnr"])


def test_reserved_keys_are_there_when_nobody_gave_them(tmp_path):
    path, page = Report("empty").write(tmp_path)
    found = json.loads(path.read_text())
    assert [found[key] for key in ("codec", "gflop_per_frame", "fps", "checkpoint")] == [None] * 4
    assert not Page(page.read_text()).open


def test_a_folder_that_cannot_be_written_is_one_sentence(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write"):
        report.write(tmp_path / "file")


def test_a_key_of_two_parts_is_refused():
    with pytest.raises(AssertionError, match="must read"):
        Report("x").values({"anna.psnr": 1.0})


def test_the_best_is_marked_by_its_direction_and_the_ceiling_is_apart():
    found = tables.table(
        {
            "codec": {"psnr": 40.0, "lmd": 0.1, "sharpness": 1.0},
            "ours": {"psnr": 26.0, "lmd": 0.6, "sharpness": 0.9},
            "theirs": {"psnr": 24.0, "lmd": 0.5, "sharpness": 1.3},
        }
    )
    assert [row.name for row in found.rows] == ["ours", "theirs", "codec"]
    marks = {row.name: [cell.best for cell in row.cells] for row in found.rows}
    assert marks == {
        "ours": [True, False, True],
        "theirs": [False, True, False],
        "codec": [False] * 3,
    }


def test_medians_are_by_system_over_clips():
    values = {"a.ours.psnr": 1.0, "b.ours.psnr": 5.0, "c.ours.psnr": 2.0, "a.x.psnr": math.nan}
    found = tables.medians(values, "all")
    assert found["all.ours.psnr"] == 2.0
    assert math.isnan(found["all.x.psnr"])
    assert tables.medians(values, "two", ["a", "b"])["two.ours.psnr"] == 3.0


def test_a_stage_that_only_copies_does_not_pass():
    rng = np.random.default_rng(0)
    copy = rng.random(200) + 1
    assert gates.beats_copy("editor", copy * 0.7, copy).passed
    assert gates.beats_copy("editor", copy * 0.7, copy).value == pytest.approx(0.3)
    assert not gates.beats_copy("editor", copy + rng.normal(0, 0.1, 200), copy).passed
    assert gates.beats_copy("editor", np.full(3, np.nan), np.ones(3)).passed is None


def test_ticks_are_round_and_inside():
    assert charts.nice_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert charts.nice_ticks(-3, 17) == pytest.approx([0, 5, 10, 15])
    found = charts.chart({"a": [1.0, 3.0, math.nan, 2.0]})
    assert found.lines[0].path.count("M") == 2
    assert all(0 <= tick.at <= 100 for tick in (*found.x_ticks, *found.y_ticks))


def test_flat_and_empty_curves_draw():
    charts.chart({"flat": [2.0, 2.0], "none": [math.nan]})
    assert charts.chart({"none": []}).lines[0].path == ""


def test_a_sheet_shows_before_after_and_grey_where_equal():
    frames = np.random.default_rng(0).integers(0, 255, (9, 10, 12, 3), dtype=np.uint8)
    sheet = pictures.contact_sheet(frames, frames, 4)
    assert sheet.shape == (3 * 10 + 2 * pictures.GAP_PX, 4 * 12 + 3 * pictures.GAP_PX, 3)
    assert (sheet[-10:, :12] == 128).all()
    np.testing.assert_array_equal(sheet[:10, :12], frames[0])
    both = pictures.side_by_side(frames, frames)
    assert both.shape == (9, 10, 28, 3)
