"""Every data set on a fake tree of its documented layout; HDTF on its real annotation too."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from core.errors import InputError
from core.shards import read_samples
from core.split import split_of
from preprocessing import ledger
from preprocessing.datasets import (
    celebv_hq,
    celebv_text,
    feed,
    hallo3,
    hdtf,
    mead,
    nersemble,
    ravdess,
    voxceleb2,
)
from preprocessing.inputs import dataset, identify, listed
from preprocessing.roi import Roi, given_box, to_be_found
from preprocessing.run import preprocess

TREES = {
    mead: ["M003/video/front/angry/level_1/001.mp4", "W009/video/left_30/neutral/level_1/002.mp4"],
    voxceleb2: ["dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "test/mp4/id00017/01dfn2spqyE/00001.mp4"],
    ravdess: ["Actor_12/01-01-06-01-02-01-12.mp4"],
    nersemble: ["240/sequences/EMO-1-shout+laugh/images/cam_222200037.mp4"],
    hallo3: ["videos/0001.mp4", "videos/0002.mp4"],
    feed: ["ID_9/blinks_C.mp4", "ID_9/tongue_rot_L.mp4"],
}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def facts(clips) -> list[dict]:
    return [dict(clip.facts) for clip in clips]


@pytest.mark.parametrize("module", TREES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_a_tree_is_listed_in_order_and_an_empty_one_refused(module, tmp_path):
    root = touch(tmp_path / "set", *TREES[module])
    found = list(module.clips(root))
    assert [Path(c.source).relative_to(root).as_posix() for c in found] == TREES[module]
    assert all(c.speaker.startswith(module.__name__.rpartition(".")[2]) for c in found)
    assert [i.clip for i in listed(dataset(module.__name__.rpartition(".")[2]), root)] == found
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file .* below .*empty; give the data set's top"):
        list(module.clips(tmp_path / "empty"))


@pytest.mark.parametrize(
    "module", [*TREES, hdtf, celebv_hq, celebv_text], ids=lambda m: m.__name__.rpartition(".")[2]
)
def test_docstrings_say_where_from_and_under_which_licence(module):
    text = " ".join(module.__doc__.split())
    for word in ("Source: https://", "Licence: ", "Counts"):
        assert word in text
    assert "Never run on the real data" in text or "Run on the real annotation" in text


def test_mead(tmp_path):
    root = touch(tmp_path, *TREES[mead], "M003/audio/angry/level_1/001.m4a")
    first, second = facts(mead.clips(root))
    assert first == {
        "speaker": "mead_M003",
        "name": "front_angry_level_1_001",
        "view": "front",
        "emotion": "angry",
        "level": 1,
        "sentence": "001",
        "sound_file": str(root / "M003/audio/angry/level_1/001.m4a"),
    }
    assert (second["view"], second["emotion"]) == ("left_30", "neutral")
    (tmp_path / "out").mkdir()
    clips = [i.clip for i in identify(listed(mead.clips, root), tmp_path / "out")]
    assert [c.drop.reason if c.drop else "" for c in clips] == ["", "sound not on disk"]


def test_mead_from_its_files_to_a_sample(tmp_path, video, cheap):
    root = tmp_path / "mead"
    for view in ("front", "top"):
        video(root / f"M003/video/{view}/happy/level_2/001.mp4", seed=len(view), sound=False)
    sound = root / "M003/audio/happy/level_2/001.m4a"
    sound.parent.mkdir(parents=True)
    video(tmp_path / "sound.mp4", seconds=1.2, seed=9).rename(sound)
    preprocess("mead", root, tmp_path / "out", cheap)
    infos = [s["info"] for s in read_samples(tmp_path / "out")]
    assert sorted(i["facts"]["view"] for i in infos) == ["front", "top"]
    assert {i["split"] for i in infos} == {split_of("mead_M003")}
    assert not any("stage1_only" in i for i in infos)


@pytest.mark.parametrize(
    "names",
    [
        (mead, "M003/video/front/happy/level_1/001.mp4", "M003/video/top/happy/level_1/001.mp4"),
        (voxceleb2, "mp4/id00012/aa/00001.mp4", "mp4/id00012/bb/00001.mp4"),
        (nersemble, "240/sequences/FREE/images/cam_1.mp4", "240/sequences/HAIR/images/cam_1.mp4"),
    ],
    ids=["mead", "voxceleb2", "nersemble"],
)
def test_clips_of_a_speaker_have_names_of_their_own_in_reports(names, tmp_path):
    from evaluation.clip_data import clip_name

    module, *files = names
    samples = [
        {"info": {"speaker": c.speaker, "source": Path(c.source).name, "facts": c.facts}}
        | {"key": "k"}
        for c in module.clips(touch(tmp_path, *files))
    ]
    assert len({clip_name(sample) for sample in samples}) == 2


def test_voxceleb2(tmp_path):
    names = ["mp4/id00019/abc/00002.mp4", *TREES[voxceleb2]]
    found = facts(voxceleb2.clips(touch(tmp_path, *names)))
    assert {
        "speaker": "voxceleb2_id00012",
        "name": "21Uxsk56VDQ_00001",
        "video": "21Uxsk56VDQ",
        "part": "dev",
    } in found
    assert {"speaker": "voxceleb2_id00019", "name": "abc_00002", "video": "abc"} in found


def test_ravdess(tmp_path):
    names = [
        "Video_Speech_Actor_12/Actor_12/01-01-06-01-02-01-12.mp4",
        "Video_Speech_Actor_12/Actor_12/02-01-06-01-02-01-12.mp4",
        "Video_Song_Actor_01/Actor_01/02-02-03-02-01-02-01.mp4",
        "Actor_01/cat.mp4",
        "Actor_01/01-01-09-01-01-01-01.mp4",
    ]
    found = {Path(c.source).stem: c for c in ravdess.clips(touch(tmp_path, *names))}
    assert len(found) == 5
    spoken = found["01-01-06-01-02-01-12"]
    assert spoken.drop is None
    assert spoken.facts == {
        "speaker": "ravdess_12",
        "channel": "speech",
        "emotion": "fearful",
        "intensity": "normal",
        "text": "Dogs are sitting by the door",
        "repetition": 1,
    }
    assert found["02-01-06-01-02-01-12"].drop.reason == "the same take is there with sound"
    mute = found["02-02-03-02-01-02-01"]
    assert (mute.facts["stage1_only"], mute.facts["channel"]) == (True, "song")
    for bad in ("cat", "01-01-09-01-01-01-01"):
        assert found[bad].drop.reason == "the file's name is no label"


def test_nersemble_and_feed_have_no_usable_sound(tmp_path):
    empty = "240/sequences/BACKGROUND/images/cam_222200037.mp4"
    clips = list(nersemble.clips(touch(tmp_path / "n", empty, *TREES[nersemble])))
    assert [c.drop is None for c in clips] == [False, True]
    assert clips[1].facts == {
        "speaker": "nersemble_240",
        "name": "EMO-1-shout+laugh_cam_222200037",
        "sequence": "EMO-1-shout+laugh",
        "view": "222200037",
        "stage1_only": True,
    }
    found = facts(feed.clips(touch(tmp_path / "f", *TREES[feed], "ID_9/notes.mp4")))
    assert found[1] == {
        "speaker": "feed_9",
        "view": "left",
        "performance": "tongue_rot",
        "stage1_only": True,
    }
    assert len(found) == 2


def write_celebv(path: Path, clips: dict, **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"clips": clips, **more}))


def test_celebv_hq(tmp_path):
    # The two clips of the README's own example.
    shown = {
        "M2Ohb0FAaJU_1": {
            "ytb_id": "M2Ohb0FAaJU",
            "duration": {"start_sec": 81.62, "end_sec": 86.17},
            "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
            "attributes": {
                "appearance": [0, 0, 1],
                "action": [0, 1, 1],
                "emotion": {"sep_flag": False, "labels": "neutral"},
            },
            "version": "v0.1",
        },
        "_0tf2n3rlJU_0": {
            "ytb_id": "_0tf2n3rlJU",
            "duration": {"start_sec": 52.72, "end_sec": 56.1},
            "bbox": {"top": 0.0, "bottom": 0.8407, "left": 0.5271, "right": 1.0},
            "attributes": {
                "appearance": [0, 0, 0],
                "action": [0, 0, 0],
                "emotion": {
                    "sep_flag": True,
                    "labels": [{"emotion": "neutral"}, {"emotion": "happy"}],
                },
            },
            "version": "v0.1",
        },
    }
    names = {
        "appearance_mapping": ["Blurry", "Male", "Young"],
        "action_mapping": ["blow", "chew", "close_eyes"],
    }
    write_celebv(tmp_path / "celebvhq_info.json", shown, meta_info=names)
    touch(tmp_path, "raw/M2Ohb0FAaJU.webm")
    first, second = celebv_hq.clips(tmp_path)
    assert Path(first.source).name == "M2Ohb0FAaJU.webm"
    assert first.span_s == (81.62, 86.17)
    assert first.facts == {
        "speaker": "youtube_M2Ohb0FAaJU",
        "name": "M2Ohb0FAaJU_1",
        "roi": "fraction:0.1964,0,0.6922,0.8815",
        "appearance": "Young",
        "action": "chew,close_eyes",
        "emotion": "neutral",
    }
    assert second.facts["emotion"] == "neutral,happy"
    assert "action" not in second.facts
    (tmp_path / "out").mkdir()
    entries = identify(listed(celebv_hq.clips, tmp_path), tmp_path / "out")
    assert [e.clip.drop.kind if e.clip.drop else "" for e in entries] == ["", "missing"]


def test_celebv_text(tmp_path):
    shown = {
        "0-5BrmyFsYM_0": {
            "ytb_id": "0-5BrmyFsYM",
            "duration": {"start_sec": 0.0, "end_sec": 9.64},
            "bbox": {"top": 0, "bottom": 937, "left": 849, "right": 1872},
        },
        "00-30GQl0TM_7": {
            "ytb_id": "00-30GQl0TM",
            "duration": {"start_frame": 415.29, "end_frame": 420.88},
            "bbox": {"top": 0, "bottom": 1183, "left": 665, "right": 1956},
        },
    }
    write_celebv(tmp_path / "celebvtext_info.json", shown)
    first, second = celebv_text.clips(tmp_path)
    assert first.facts["roi"] == "px:849,0,1872,937"
    assert second.span_s == (415.29, 420.88)
    with pytest.raises(InputError, match="download that one"):
        given_box(first.noting(width=1280, height=720))
    assert given_box(first.noting(width=1920, height=1080)) == (849, 0, 1872, 937)


def test_one_video_is_one_speaker_in_both_celebvs(tmp_path):
    entry = {
        "ytb_id": "x",
        "duration": {"start_sec": 0, "end_sec": 2},
        "bbox": {"top": 0, "bottom": 1, "left": 0, "right": 1},
    }
    write_celebv(tmp_path / "celebvtext_info.json", {"x_0": entry})
    write_celebv(tmp_path / "celebvhq_info.json", {"x_7": entry})
    (text,), (hq,) = celebv_text.clips(tmp_path), celebv_hq.clips(tmp_path)
    assert text.speaker == hq.speaker


def test_annotations_that_are_missing_or_damaged(tmp_path):
    with pytest.raises(InputError, match=r"no celebvhq_info\.json in .*; download"):
        list(celebv_hq.clips(tmp_path))
    (tmp_path / "celebvhq_info.json").write_text("[]")
    with pytest.raises(InputError, match="holds no clips"):
        list(celebv_hq.clips(tmp_path))
    write_celebv(tmp_path / "celebvhq_info.json", {"a_0": {"ytb_id": "a"}})
    with pytest.raises(InputError, match=r"clip 'a_0' .* lacks ytb_id, duration or bbox"):
        list(celebv_hq.clips(tmp_path))


def write_hdtf(root: Path, **changes: str) -> Path:
    """A small annotation of invented people."""
    root.mkdir(parents=True, exist_ok=True)
    for part in hdtf.PARTS:
        for kind in ("annotion_time", "crop_wh", "crop_ratio", "resolution", "video_url"):
            (root / f"{part}_{kind}.txt").write_text("")
    texts = {
        "RD_annotion_time": "Radio11.mp4 00:30-01:00 01:30-02:30\n",
        "RD_crop_wh": "Radio11_0.mp4 412 599 0 599\nRadio11_1.mp4 557 478 0 478\n",
        "RD_crop_ratio": "Radio11_0.mp4 1.2\nRadio11_1.mp4 1.0\n",
        "RD_resolution": "Radio11.mp4 720\n",
        "WRA_annotion_time": "\ufeffAnnExample0.mp4 00:05-00:09 \n"
        "AnnExample1.mp4 1:00:05-1:00:09\n",
        "WRA_crop_wh": "AnnExample1_0.mp4 10 900 0 900\n",
        "WRA_crop_ratio": "AnnExample1_0.mp4 0.9\n",
        "WRA_resolution": "AnnExample0.mp4 1080\nAnnExample1.mp4 720\n",
    }
    for name, text in (texts | changes).items():
        (root / f"{name}.txt").write_text(text, encoding="utf-8")
    return root


def test_hdtf(tmp_path):
    root = write_hdtf(tmp_path / "HDTF_dataset").parent
    touch(root, "_videos_raw/WRA_AnnExample1.mp4", "videos/Radio11.mp4")
    one, two, uncut, wrong = hdtf.clips(root)
    assert (one.span_s, two.span_s) == ((30, 60), (90, 150))
    assert one.source == two.source == str(root / "videos/Radio11.mp4")
    assert one.facts == {
        "speaker": "hdtf_Radio11",
        "name": "Radio11_0",
        "part": "RD",
        "roi": "px@720:412,0,1011,599",
        "crop_ratio": 1.2,
    }
    assert given_box(one.noting(width=1280, height=720)) == (412, 0, 1011, 599), "method 1"
    assert to_be_found(one.noting(width=1920, height=1080)), "method 2"
    assert uncut.drop.reason == "no crop in the annotation"
    assert Path(uncut.source) == root / "_videos_raw/WRA_AnnExample0.mp4"
    assert "roi" not in wrong.facts, "900 pixels do not fit into 720"
    assert to_be_found(wrong.noting(width=1280, height=720))
    assert wrong.span_s == (3605, 3609)
    assert uncut.speaker == wrong.speaker == "hdtf_AnnExample"
    assert Path(wrong.source).name == "WRA_AnnExample1.mp4"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RD_annotion_time": "Radio11.mp4 00:30\n"}, "span '00:30' of Radio11_0 is no MM:SS-MM"),
        ({"RD_annotion_time": "Radio11.mp4 01:00-00:30\n"}, "is no MM:SS-MM:SS"),
        ({"RD_crop_wh": "Radio11_0.mp4 412 599 0\n"}, "the crop of Radio11_0 can't be read"),
        ({"RD_resolution": "Radio11.mp4 high\n"}, "the crop of Radio11_0 can't be read"),
    ],
)
def test_hdtf_lines_that_cannot_be_read(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        list(hdtf.clips(write_hdtf(tmp_path, **changes)))


def test_hdtf_without_annotation(tmp_path):
    with pytest.raises(InputError, match=r"can't read .*RD_annotion_time\.txt"):
        list(hdtf.clips(tmp_path))


def test_hdtf_from_its_files_to_samples(tmp_path, video, cheap):
    texts = {
        "RD_annotion_time": "Radio1.mp4 00:00-00:02 00:02-00:04\nRadio2.mp4 00:00-00:02\n",
        "RD_crop_wh": "Radio1_0.mp4 0 32 0 32\nRadio1_1.mp4 32 32 32 32\nRadio2_0.mp4 0 9 0 9\n",
        "RD_crop_ratio": "Radio1_0.mp4 1.2\nRadio1_1.mp4 1.0\nRadio2_0.mp4 1.0\n",
        "RD_resolution": "Radio1.mp4 64\nRadio2.mp4 64\n",
        "WRA_annotion_time": "",
    }
    root = write_hdtf(tmp_path / "hdtf", **texts)
    video(root / "Radio1.mp4", seconds=4.0)
    preprocess("hdtf", root, tmp_path / "out", cheap)
    rows = ledger.read(tmp_path / "out" / ledger.LEDGER)
    assert [(r["outcome"], r["start_s"], r["frames"]) for r in rows] == [
        ("ok", 0.0, 50),
        ("ok", 2.0, 50),
        ("missing", 0.0, 0),
    ]
    summary = json.loads((tmp_path / "out" / ledger.SUMMARY).read_text())
    assert summary["missing"] == 1
    regions = {s["info"]["facts"]["roi"] for s in read_samples(tmp_path / "out")}
    assert regions == {"px:0,0,32,32", "px:32,32,64,64"}


@pytest.fixture
def real_hdtf() -> Path:
    folder = Path(os.environ.get("FLASHLIPS_DATASETS", "")) / "hdtf"
    if "FLASHLIPS_DATASETS" not in os.environ or not folder.is_dir():
        pytest.skip("HDTF's annotation is not there: set FLASHLIPS_DATASETS to a folder with hdtf/")
    return folder


def test_hdtf_real_annotation(real_hdtf):
    clips = list(hdtf.clips(real_hdtf))
    assert len(clips) == 436
    assert Counter(c.drop.reason if c.drop else "" for c in clips) == {
        "": 421,
        "no crop in the annotation": 15,
    }
    kept = [c for c in clips if c.drop is None]
    assert sum("roi" in c.facts for c in kept) == 416
    assert all("crop_ratio" in c.facts for c in kept)
    for clip in kept:
        if "roi" in clip.facts:
            roi = Roi.parse(str(clip.facts["roi"]))
            left, top, right, bottom = roi.box(round(roi.height * 16 / 9), roi.height)
            assert right - left == bottom - top > 100
    people = {c.speaker for c in clips}
    assert "hdtf_AmyKlobuchar" in people
    assert len(people) == 276
    assert len({c.source for c in clips}) == 369
