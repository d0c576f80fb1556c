"""The papers' figures are all there, are the papers', and are never ranked with ours."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from core.errors import InputError
from evaluation.published import COLUMNS, MARK, Measured, published, ranked, read

ROWS = published()
LOWER = {"FID", "FVD", "LPIPS", "LMD", "NIQE", "BRISQUE", "Speedup of FlashLips UNet"}
PEERS = {
    *("DiffDub", "Diff2Lip", "TalkLip", "LatentSync", "IP-LAP", "KeySync", "Wav2Lip"),
    *("VideoReTalking", "MuseTalk", "OmniSync"),
}


def values(paper, table, system, setting):
    return {
        row.metric: row.value
        for row in ROWS
        if (row.paper, row.table, row.system, row.setting) == (paper, table, system, setting)
    }


def test_every_table_has_all_its_figures():
    assert Counter((row.paper, row.table) for row in ROWS) == {
        ("flashlips", "1"): 8 * 9 + 8 * 6,
        ("flashlips", "2"): 8 * 2,
        ("flashlips", "3"): 5 * 5 + 5 * 4,
        ("flashlips", "4"): 5 * 5 + 5 * 4,
        ("flashlips", "5"): 8 * 4,
        ("flashlips", "C.4"): 2 * 8 * 7,
        ("flashlips", "C.5"): 15 * 8 + 15 * 5,
        ("latentsync", "1"): 5 * 10,
        ("omnisync", "1"): 8 * 8,
        ("omnisync", "2"): 8 * 8,
    }


@pytest.mark.parametrize(
    ("paper", "table", "system", "setting", "line"),
    [
        ("flashlips", "1", "TalkLip", "reconstruction",
         "FID 13.97 FVD 78.66 HyperIQA 64.52 VBench .667 LipScore .57 ID .79 PSNR 32.03 SSIM .94 "
         "LPIPS .062"),
        ("flashlips", "1", "KeySync", "cross-audio",
         "FID 6.81 FVD 37.55 HyperIQA 74.13 VBench .676 LipScore .36 ID .79"),
        ("flashlips", "1", "FlashLips UNet", "cross-audio",
         "FID 6.23 FVD 33.57 HyperIQA 73.58 VBench .681 LipScore .38 ID .81"),
        ("flashlips", "2", "FlashLips Transformer", "speed, one clip, H100",
         "FPS 66.84 Speedup_of_FlashLips_UNet 1.6"),
        ("flashlips", "3", "FlashLips Transformer, 32 reference latents", "cross-audio",
         "FVD 25.16 HyperIQA 73.89 LipScore .32 ID .82"),
        ("flashlips", "4", "FlashLips UNet, 8 reference latents", "reconstruction",
         "FVD 15.61 HyperIQA 73.82 LipScore .70 ID .85 PSNR 32.92"),
        ("flashlips", "5", "FlashLips lips encoder, V1 8D + V2 16D", "cross-audio",
         "LipScore .40 ID .63"),
        ("flashlips", "5", "FlashLips lips encoder, V1 2D", "reconstruction",
         "PSNR 27.11 SSIM .88"),
        ("flashlips", "C.4", "IP-LAP", "cross-audio",
         "VBench_SC .963 VBench_BC .945 VBench_MS .992 VBench_DD .670 VBench_AQ .519 "
         "VBench_IQ .639 VBench .670"),
        ("flashlips", "C.4", "DiffDub", "reconstruction",
         "VBench_SC .962 VBench_BC .954 VBench_MS .992 VBench_DD .670 VBench_AQ .505 "
         "VBench_IQ .661 VBench .673"),
        ("flashlips", "C.5", "FlashLips Transformer with Mask, 1 reference latents",
         "reconstruction",
         "FID 8.06 FVD 57.80 HyperIQA 73.26 LipScore .50 ID .81 PSNR 27.68 SSIM .90 LPIPS .044"),
        ("flashlips", "C.5", "FlashLips UNet Mask-free, 32 reference latents", "cross-audio",
         "FID 6.13 FVD 28.54 HyperIQA 73.63 LipScore .32 ID .81"),
        ("latentsync", "1", "Wav2Lip", "VoxCeleb2",
         "FID 10.8 SSIM .71 Sync_conf 7.0 LMD .53 FVD 257.85"),
        ("latentsync", "1", "LatentSync", "HDTF",
         "FID 7.22 SSIM .79 Sync_conf 8.9 LMD .30 FVD 162.74"),
        ("omnisync", "1", "OmniSync", "HDTF",
         "FID 7.855 FVD 199.627 CSIM .875 NIQE 5.481 BRISQUE 37.917 HyperIQA 56.356 LMD 7.097 "
         "LSE-C 7.309"),
        ("omnisync", "2", "MuseTalk", "AIGC-LipSync",
         "FID 17.668 FVD 297.621 CSIM .667 NIQE 4.935 BRISQUE 36.017 HyperIQA 58.334 "
         "Success 92.20"),
        ("omnisync", "2", "LatentSync", "AIGC-LipSync, stylized characters", "Success 35.56"),
    ],
)  # fmt: skip
def test_whole_lines_are_the_papers(paper, table, system, setting, line):
    words = line.split()
    wanted = {
        name.replace("Sync_conf", "Sync-conf").replace("_", " ").replace("Sync-conf", "Sync_conf"):
        float(value)
        for name, value in zip(words[::2], words[1::2], strict=True)
    }  # fmt: skip
    assert values(paper, table, system, setting) == wanted


def test_a_papers_tables_agree_with_each_other():
    for setting in ("reconstruction", "cross-audio"):
        for system in {row.system for row in ROWS if row.table == "C.4"}:
            total = values("flashlips", "C.4", system, setting)["VBench"]
            assert total == values("flashlips", "1", system, setting)["VBench"], system
        for net, table in (("Transformer", "3"), ("UNet", "4")):
            for count in (1, 4, 8, 16, 32):
                full = values(
                    "flashlips", "C.5", f"FlashLips {net} Mask-free, {count} reference latents",
                    setting,
                )  # fmt: skip
                short = values(
                    "flashlips", table, f"FlashLips {net}, {count} reference latents", setting
                )
                assert short.items() <= full.items()
                if count == 4:
                    first = values("flashlips", "1", f"FlashLips {net}", setting)
                    assert full.items() <= first.items()


def test_the_printed_speed_ups_follow_from_the_speeds():
    for system in {row.system for row in ROWS if row.table == "2" and row.paper == "flashlips"}:
        found = values("flashlips", "2", system, "speed, one clip, H100")
        assert found["Speedup of FlashLips UNet"] == pytest.approx(109.41 / found["FPS"], abs=0.06)


def test_directions_and_names():
    for row in ROWS:
        assert row.better == ("lower" if row.metric in LOWER else "higher"), row
        assert row.mark == MARK
        assert MARK in row.label
        assert row.system in PEERS or row.system.startswith("FlashLips "), row.system
        assert row.protocol
        assert row.title


def test_ratings_of_one_table_can_be_ranked():
    rows = [
        r for r in ROWS
        if (r.paper, r.table, r.setting, r.metric) == ("flashlips", "1", "cross-audio", "FID")
    ]  # fmt: skip
    best = ranked(rows)
    assert [best[0].system, best[-1].system] == ["FlashLips Transformer", "DiffDub"]
    assert all(a.value <= b.value for a, b in pairwise(best))
    turned = ranked([replace(row, better="higher") for row in rows])
    assert turned[0].system == "DiffDub"


def test_no_published_row_is_ranked_with_ours():
    for row in ROWS:
        for name in (row.system, "ours"):
            own = Measured(name, row.setting, row.metric, row.value, row.better, row.origin)
            with pytest.raises(InputError, match="origin"):
                ranked([row, own])


def test_rows_that_were_measured_otherwise_are_not_ranked():
    one = next(r for r in ROWS if r.paper == "latentsync" and r.metric == "FID")
    other = next(r for r in ROWS if r.paper == "omnisync" and r.metric == "FID")
    assert (one.setting, one.better) == (other.setting, other.better)  # only the paper differs
    with pytest.raises(InputError, match="origin"):
        ranked([one, other])
    for change in ({"metric": "FVD"}, {"setting": "VoxCeleb2"}, {"better": "higher"}):
        with pytest.raises(InputError, match=next(iter(change))):
            ranked([one, replace(one, **change)])
    mine = [
        Measured(name, "self", "sharpness", value, "one", "held-out 3")
        for name, value in (("a", 1.3), ("b", 0.9), ("c", float("nan")), ("d", 0.5))
    ]
    assert [row.system for row in ranked(mine)] == ["b", "a", "d", "c"]
    with pytest.raises(InputError, match="origin"):
        ranked([*mine, replace(mine[0], benchmark="held-out 4")])
    assert ranked([]) == []


@pytest.mark.parametrize(
    "line",
    [
        ["1", "HDTF", "A", "FID", "7.2", "lower"],
        ["1", "HDTF", "A", "FID", True, "lower"],
        ["1", "HDTF", "A", "FID", float("nan"), "lower"],
        ["1", "HDTF", "A", "FID", 7.2, "less"],
        ["1", "HDTF", "", "FID", 7.2, "lower"],
        ["1", "HDTF", "A", "FID", 7.2],
        7.2,
    ],
)
def test_what_is_no_figure_is_refused(tmp_path, line):
    path = tmp_path / "x.json"
    good = ["1", "HDTF", "A", "FVD", 7, "lower"]
    head = {"paper": "x", "title": "X", "protocol": "none", "columns": COLUMNS}
    path.write_text(json.dumps(head | {"rows": [good]}))
    assert read(path)[0].value == 7
    path.write_text(json.dumps(head | {"rows": [good, line]}))
    with pytest.raises(InputError, match="row 1"):
        read(path)


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "x.json"
    head = {"paper": "x", "title": "X", "protocol": "none", "columns": COLUMNS}
    row = ["1", "HDTF", "A", "FVD", 7.0, "lower"]
    for text, why in (
        ("{", "no file of published figures"),
        ("[]", "no file of published figures"),
        (json.dumps({"paper": "x"}), "title"),
        (json.dumps(head | {"columns": ["a"], "rows": []}), "columns"),
        (json.dumps(head | {"rows": [row, row]}), "twice"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=why):
            read(path)
