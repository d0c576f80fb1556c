from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from core.clip import Clip
from core.media.video import VideoWriter
from core.shards import read_samples
from core.testing import talking_frame
from preprocessing import ledger
from preprocessing.run import preprocess
from preprocessing.steps.scenes import Scenes
from preprocessing.steps.viseme import Viseme

CUT, END = 40, 75


def film(path, shots, size=(160, 120)):
    """A video of drawn heads, each shot tinted another way; returns its path."""
    tone = np.sin(np.arange(sum(shots) * 640) * 0.1).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, *size, Fraction(25), tone, 16_000) as out:
        for number, frames in enumerate(shots):
            for i in range(frames):
                frame = talking_frame(i, *size)[0]
                out.write(255 - frame if number % 2 else frame)
    return path


def listed(path, span_s=None):
    return Clip("whole", str(path), span_s, facts={"sha256": "0"})


def test_a_clip_without_cuts_passes_as_it_came(tmp_path):
    clip = listed(film(tmp_path / "v.mp4", [60]))
    (same,) = Scenes()([clip])
    assert same == clip.noting(shots=1)


def test_a_cut_makes_two_clips_with_times_of_their_own(tmp_path):
    clip = listed(film(tmp_path / "v.mp4", [CUT, END - CUT]))
    one, two = Scenes()([clip])
    assert (one.span_s, two.span_s) == ((0, CUT / 25), (CUT / 25, END / 25))
    assert [c.facts["shot_frame"] for c in (one, two)] == [0, CUT]
    assert one.id == one.facts["shot"] != two.id == two.facts["shot"]


def test_a_span_is_searched_alone_and_its_shots_lie_on_its_grid(tmp_path):
    clip = listed(film(tmp_path / "v.mp4", [CUT, END - CUT]), (0.5, 2.6))
    one, two = Scenes()([clip])
    assert one.span_s == (0.5, pytest.approx(CUT / 25, abs=0.021))
    assert two.span_s == (one.span_s[1], pytest.approx(2.6, abs=0.021))


def test_a_short_shot_is_rejected_and_the_others_go_on(tmp_path):
    clip = listed(film(tmp_path / "v.mp4", [40, 10, 40]))
    one, flash, two = Scenes(min_s=1.0)([clip])
    assert one.drop is two.drop is None
    assert (flash.drop.reason, flash.drop.value, flash.drop.threshold) == ("shot too short", 0.4, 1)


def test_shots_are_clips_in_the_shards_and_one_row_in_the_ledger(tmp_path, cheap):
    film(tmp_path / "raw" / "v.mp4", [CUT, END - CUT])
    recipe = replace(cheap, steps="cheap_chain:with_scenes", segment_s=1.0)
    preprocess("folder", tmp_path / "raw", tmp_path / "out", recipe)
    infos = [s["info"] for s in read_samples(tmp_path / "out")]
    assert [(i["first_frame"], i["clip_frames"]) for i in infos] == [
        (0, 40), (20, 40), (0, 35), (17, 35),
    ]  # fmt: skip
    assert infos[0]["clip"] == infos[1]["clip"] != infos[2]["clip"] == infos[3]["clip"]
    assert {i["speaker"] for i in infos} == {"v"}
    (row,) = ledger.read(tmp_path / "out" / ledger.LEDGER)
    assert (row["outcome"], row["segments"], row["frames"]) == ("ok", 4, 75)


def test_the_true_opening_is_looked_up_on_the_listed_clips_time_line(tmp_path):
    (tmp_path / "v.json").write_text('{"opening": [0, 1, 2, 3, 4, 5]}')
    facts = {"first_frame": 1, "shot_frame": 2, "viseme_json": str(tmp_path / "v.json")}
    fields = {"landmarks": np.zeros((2, 468, 3))}
    (done,) = Viseme()([Clip("x", str(tmp_path / "v.mp4"), fields=fields, facts=facts)])
    assert done.fields["viseme"].tolist() == [3, 4]
