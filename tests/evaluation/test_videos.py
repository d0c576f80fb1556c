"""Edited videos of a benchmark, read once, measured, merged, reported and compared."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from core.errors import InputError
from core.media.video import VideoWriter, probe, read_frames
from core.testing import (
    DummyPredictor,
    KnownFace,
    dummy_sound,
    dummy_video,
    talking_frame,
    truncated,
)
from core.weights import Store
from evaluation.benchmarks import cross_audio
from evaluation.benchmarks.pairs import BENCHMARKS, find
from evaluation.comparison import compare
from evaluation.scores import Scores, difference
from evaluation.video_report import ends, read_result, result, write
from evaluation.video_run import make, measure, measure_pair
from evaluation.videos import Reader, Viewing

WHOLE = replace(DummyPredictor().spec, crop=None, region="frame")


class Brightness:
    """Mean of the output, and of what it is compared with; not defined for dark ones."""

    name, better, needs = "brightness", "higher", ()
    kinds = ("self", "cross", "silent")

    def observe(self, case):
        if case.output.crops.mean() < 5:
            raise InputError("the output is black; make it again")
        judge = case.audio_video or case.source
        return {
            "output": case.output.crops.reshape(len(case.output), -1).mean(1),
            "judge": judge.crops.reshape(len(judge), -1).mean(1),
        }

    def reduce(self, rows):
        out = np.concatenate([r["output"] for r in rows])
        return {
            "brightness": float(out.mean()),
            "brightness_gap": float((out - np.concatenate([r["judge"] for r in rows])).mean()),
        }


class Told:
    """A tracker that knows where ``talking_frame`` draws its face."""

    def __init__(self):
        self.at, self.reads = 0, 0

    def reset(self):
        self.at, self.reads = 0, self.reads + 1

    def track(self, frame):
        self.at += 1
        return KnownFace(talking_frame(self.at - 1)[1])

    def mesh_crop(self, crop):
        return np.full((468, 3), crop.mean(), np.float32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three talking clips of a second, told apart by their brightness."""
    folder = tmp_path_factory.mktemp("clips")
    for index, name in enumerate(("anna", "ben", "cleo")):
        tone = 0.1 * np.sin(np.arange(16_000) / (8 + index)).astype(np.float32)
        with VideoWriter(folder / f"{name}.mp4", 320, 240, Fraction(25), sound=tone) as out:
            for at in range(25):
                out.write((talking_frame(at)[0] * (1 - 0.2 * index)).astype(np.uint8))
    return folder


@pytest.fixture
def edited(clips, tmp_path):
    """A benchmark's videos by a system that changes nothing: (benchmark, pairs, folder)."""
    benchmark = find("cross_audio@1")
    pairs = benchmark.pairs(clips)
    predictor = DummyPredictor(WHOLE, lambda views, call: views)
    assert make(benchmark, pairs, predictor, Store(()), tmp_path / "videos") == {}
    return benchmark, pairs, tmp_path / "videos"


def reader():
    return Reader(Viewing(), Told())


def test_pairs_are_drawn_once_and_for_all(clips):
    for name in BENCHMARKS:
        if name == "aigc":
            continue
        benchmark = find(name)
        pairs = benchmark.pairs(clips)
        assert pairs == benchmark.pairs(clips)
        manifest = benchmark.manifest(pairs, clips)
        assert manifest["hash"] == benchmark.manifest(pairs, clips)["hash"]
        other = replace(benchmark, version=2)
        assert other.manifest(pairs, clips)["hash"] != manifest["hash"]
        assert [p.name for p in pairs] == sorted(p.name for p in pairs)
    crossed = find("cross_audio").pairs(clips)
    assert all(p.source != p.audio for p in crossed)
    assert len({p.audio for p in crossed}) == 3
    assert len(replace(find("cross_audio"), most=2).pairs(clips)) == 2
    assert {p.kind for p in find("clips").pairs(clips)} == {"self", "cross", "silent"}


def test_each_category_speaks_among_itself(clips, tmp_path):
    for name, category in (("anna", "human"), ("ben", "human"), ("cleo", "drawn")):
        place = tmp_path / category / f"{name}.mp4"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((clips / f"{name}.mp4").read_bytes())
    pairs = find("aigc").pairs(tmp_path)
    assert [(p.category, p.source.stem, p.audio.stem) for p in pairs] == [
        ("human", "anna", "ben"), ("human", "ben", "anna"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="has no folders in it"):
        find("aigc").pairs(clips)


def test_benchmarks_that_are_not_there_are_one_sentence(clips, tmp_path):
    for text, said in (
        ("beauty", "no benchmark 'beauty'; there are reconstruction, cross_audio"),
        ("cross_audio@9", "benchmark cross_audio@9 is not here, cross_audio@1 is"),
    ):
        with pytest.raises(InputError, match=said):
            find(text)
    with pytest.raises(InputError, match="holds no video with sound"):
        find("silence").pairs(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        find("silence").pairs(tmp_path / "none")
    with pytest.raises(InputError, match="another clip's sound needs two"):
        cross_audio.pair([clips / "anna.mp4"], clips, random.Random(0))


def test_videos_are_made_once(clips, edited, tmp_path):
    benchmark, pairs, folder = edited
    made = {p.name: (folder / f"{p.name}.mp4").stat().st_mtime_ns for p in pairs}
    calls = DummyPredictor(WHOLE)
    assert make(benchmark, pairs, calls, Store(()), folder) == {}
    assert calls.calls == [], "nothing was edited again"
    assert made == {p.name: (folder / f"{p.name}.mp4").stat().st_mtime_ns for p in pairs}
    silent = find("silence").pairs(clips)[:1]
    assert make(find("silence"), silent, DummyPredictor(WHOLE), Store(()), folder) == {}
    assert probe(folder / f"{silent[0].name}.mp4").frames == 25


def test_the_judge_in_cross_audio_is_the_video_of_the_sound(clips, edited):
    _, pairs, folder = edited
    pair = next(p for p in pairs if p.source.stem == "cleo")
    right = measure_pair(pair, folder, "same", [Brightness()], reader()).values()
    swapped = replace(pair, audio_video=pair.source)
    wrong = measure_pair(swapped, folder, "same", [Brightness()], reader()).values()
    assert right["brightness"] == wrong["brightness"]
    assert right["brightness_gap"] < -10
    assert abs(wrong["brightness_gap"]) < 2


def test_parts_in_any_order_give_what_one_pass_gives(edited):
    _, pairs, folder = edited
    whole = measure(pairs, folder, "same", [Brightness()], reader())
    parts = [measure([p], folder, "same", [Brightness()], reader()) for p in reversed(pairs)]
    merged = Scores(whole.metrics).merged(*parts)
    assert merged.values() == whole.values()
    assert merged.by_video() == whole.by_video()
    assert merged.pairs == whole.pairs
    assert whole.complete
    assert (whole.measured, len(whole.by_video())) == (3, 3)
    low, high = (getattr(whole.intervals()["brightness"], end) for end in ("low", "high"))
    assert low < whole.values()["brightness"] < high


def test_kinds_and_categories_have_numbers_of_their_own(clips, tmp_path):
    benchmark = find("clips@1")
    pairs = benchmark.pairs(clips)
    same = DummyPredictor(WHOLE, lambda views, call: views)
    make(benchmark, pairs, same, Store(()), tmp_path / "videos")
    scores = measure(pairs, tmp_path / "videos", "same", [Brightness()], reader())
    found = result(scores, benchmark.manifest(pairs, clips), "same")
    assert found["groups"].keys() == {"self", "cross", "silent"}
    mean = np.mean([g["brightness"] for g in found["groups"].values()])
    assert mean == pytest.approx(found["values"]["brightness"], abs=0.1)
    assert abs(found["groups"]["self"]["brightness_gap"]) < 2
    page = write(tmp_path / "report", found)
    assert "By kind and category" in page.read_text()


def test_each_video_is_read_once(edited):
    _, pairs, folder = edited
    tracker = Told()
    measure(pairs, folder, "same", [Brightness(), Brightness()], Reader(Viewing(), tracker))
    assert tracker.reads == 3, "three clips, each a source and a judge"


def test_what_cannot_be_measured_is_a_row_with_its_reason(edited, tmp_path):
    _, pairs, folder = edited
    (folder / f"{pairs[0].name}.mp4").unlink()
    truncated(folder / f"{pairs[1].name}.mp4", tmp_path / "cut.mp4", 0.3)
    (tmp_path / "cut.mp4").rename(folder / f"{pairs[1].name}.mp4")
    dummy_video(folder / f"{pairs[2].name}.mp4", 1.0, size=(160, 120))
    found = measure(pairs, folder, "bad", [Brightness()], reader())
    assert "is missing" in found.failures[pairs[0].name]
    assert "damaged" in found.failures[pairs[1].name]
    assert "is 160 x 120, its source 320 x 240" in found.failures[pairs[2].name]
    assert not found.complete
    assert found.values() == {}
    dummy_video(folder / f"{pairs[2].name}.mp4", 0.5, size=(320, 240))
    found = measure(pairs, folder, "bad", [Brightness()], reader())
    assert "has 12 frames, its source 25" in found.failures[pairs[2].name]
    with VideoWriter(folder / f"{pairs[2].name}.mp4", 320, 240, Fraction(25)) as out:
        for _ in range(25):
            out.write(np.zeros((240, 320, 3), np.uint8))
    found = measure(pairs, folder, "bad", [Brightness()], reader())
    assert "the output is black" in found.failures[f"{pairs[2].name}.brightness"]
    manifest = {"benchmark": "b@1", "facts": {}, "hash": "x", "pairs": []}
    page = write(tmp_path / "report", result(found, manifest, "bad"))
    assert "Incomplete: 0 of 3 videos" in page.read_text()


def test_two_systems_are_told_apart_where_videos_do(clips, edited, tmp_path):
    benchmark, pairs, folder = edited
    darker = DummyPredictor(WHOLE, lambda views, call: (views * 0.9).astype(np.uint8))
    make(benchmark, pairs, darker, Store(()), tmp_path / "dark")
    manifest = benchmark.manifest(pairs, clips)
    scores = {
        name: measure(pairs, place, name, [Brightness()], reader())
        for name, place in (("same", folder), ("dark", tmp_path / "dark"))
    }
    gap = difference(scores["dark"], scores["same"], "brightness")
    assert gap.high < 0
    again = difference(scores["same"], scores["same"], "brightness")
    assert (again.low, again.high) == (0, 0)
    for name, found in scores.items():
        write(tmp_path / f"r-{name}", result(found, manifest, name))
    read = [read_result(tmp_path / f"r-{name}") for name in ("same", "dark")]
    assert read[0] == json.loads((tmp_path / "r-same" / "scores.json").read_text())
    page = compare(read, tmp_path / "both").read_text()
    assert "Each system less same" in page
    assert 'class="diff worse"' in page
    rows = (tmp_path / "both" / "table.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["system", "same", "dark"]
    assert (tmp_path / "both" / "table.tex").read_text().count("&") == 6
    worst = ends(read[1], "brightness", 1)
    assert worst[0][1] < worst[1][1]
    read[1]["manifest"]["hash"] = "other"
    with pytest.raises(InputError, match="only results on the same videos are compared"):
        compare(read, tmp_path / "no")


def test_an_output_is_cut_where_its_source_is(edited):
    pairs = edited[1]
    seen = reader().source(pairs[0].source)
    again = reader().output(pairs[0].source, seen)
    assert np.array_equal(seen.crops, again.crops)
    assert np.array_equal(seen.frames, again.frames)
    frame = next(f for _, f in read_frames(pairs[0].source))
    assert np.array_equal(seen.frames[0], frame), "small frames are kept as they are"
    assert seen.crops.shape == (25, 256, 256, 3)
    assert 16_000 <= len(seen.sound) < 17_500, "AAC pads a little"


def test_videos_without_a_face_are_named(clips, tmp_path):
    class Blind(Told):
        def track(self, frame):
            return None

    path = dummy_video(tmp_path / "nobody.mp4", 0.4)
    dummy_sound(tmp_path / "a.wav", 0.4)
    with pytest.raises(InputError, match=r"no face was found in .*nobody\.mp4"):
        Reader(Viewing(), Blind()).source(path)


def tools():
    return reader(), [Brightness()]


@pytest.mark.ray
def test_two_ray_workers_give_what_one_pass_gives(edited):
    from evaluation import ray_runner

    _, pairs, folder = edited
    (folder / f"{pairs[0].name}.mp4").unlink()
    told = []
    many = ray_runner.measure(pairs, folder, "same", tools, 2, lambda *args: told.append(args))
    one = measure(pairs, folder, "same", [Brightness()], reader())
    assert many.values() == one.values()
    assert many.by_video() == one.by_video()
    assert many.failures == one.failures
    assert many.pairs == one.pairs
    assert told[-1][1:] == (3, 3)
