from __future__ import annotations

import numpy as np
import pytest

from core.clip import Clip
from core.errors import InputError
from core.media.crop import CropSpec
from core.media.video import read_frames_at
from preprocessing.roi import Roi, given_box, to_be_found
from preprocessing.steps.crop import Crop
from preprocessing.steps.frames import Frames
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment
from preprocessing.steps.track import Track
from preprocessing.steps.window import Window, merged

SIZE = {"width": 1280, "height": 720}


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("fraction:0.25,0,0.75,1", (320, 0, 960, 720)),
        ("px:608,0,1014,406", (608, 0, 1014, 406)),
        ("px@1080:600,30,1200,630", (400, 20, 800, 420)),
        ("px:-5,-5,1290,725", (0, 0, 1280, 720)),
    ],
)
def test_three_units(text, box):
    assert Roi.parse(text).box(1280, 720) == box
    assert str(Roi.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "px:1,2,3", "cm:1,2,3,4", "px:a,2,3,4", "px@x:1,2,3,4", "fraction@9:0,0,1,1"]
)
def test_text_that_is_no_region(text):
    with pytest.raises(InputError, match=r"is no region; write fraction:L,T,R,B"):
        Roi.parse(text)


def test_regions_that_do_not_fit():
    with pytest.raises(InputError, match=r"reaches out of the picture \(1280x720\).*download"):
        given_box(Clip("x", "x", facts={**SIZE, "roi": "px:849,0,1872,937"}))
    with pytest.raises(InputError, match="smaller than 16 pixels"):
        Roi.parse("px:100,100,110,200").box(1280, 720)
    with pytest.raises(InputError, match="smaller than 16 pixels"):
        Roi.parse("fraction:0.7,0,0.2,1").box(1280, 720)


def test_a_crop_ratio_takes_over_when_the_resolution_is_another():
    same = Clip("x", "x", facts={**SIZE, "roi": "px@720:0,0,400,400", "crop_ratio": 1.2})
    assert given_box(same) == (0, 0, 400, 400)
    other = same.noting(roi="px@1080:0,0,600,600")
    assert to_be_found(other)
    assert given_box(other) is None
    without = Clip("x", "x", facts={**SIZE, "roi": "px@1080:0,0,600,600"})
    assert given_box(without) == (0, 0, 400, 400)
    assert given_box(Clip("x", "x", facts=SIZE)) is None
    assert to_be_found(Clip("x", "x", facts={**SIZE, "crop_ratio": 1.0}))


def test_read_cuts_to_the_region_kept_or_decoded_again(tmp_path, video):
    path = video(tmp_path / "v.mp4")
    given = Clip("x", str(path), facts={"sha256": "0", "roi": "fraction:0.25,0.5,0.75,1"})
    (probed,) = Probe()([given])
    (part,) = Segment()([probed])
    whole = [frame for _, frame in read_frames_at(path)]
    for keep_mb in (400, 0):
        step = Read(keep_mb=keep_mb)
        step.setup()
        (read,) = step([part])
        assert read.facts["roi"] == "px:16,32,48,64"
        frames = list(read.fields["frames"])
        assert len(frames) == 30
        for cut, frame in zip(frames, whole, strict=True):
            assert np.array_equal(cut, frame[32:, 16:48])


def test_window_merges_faces_of_all_frames_into_one_square():
    mesh = np.zeros((2, 3, 3), np.float32)
    mesh[0, :, :2] = [(100, 100), (140, 120), (120, 150)]
    mesh[1, :, :2] = [(110, 100), (200, 120), (120, 150)]
    assert merged(mesh, 1.0) == Roi(100, 75, 200, 175)
    assert merged(mesh, 1.2) == Roi(90, 65, 210, 185)
    frames = tuple(np.full((720, 1280, 3), i, np.uint8) for i in range(2))
    clip = Clip(
        "x",
        "x",
        fields={"mesh": mesh, "frames": Frames("x", (0, 0.08), 2, kept=frames)},
        facts={**SIZE, "crop_ratio": 1.2, "roi": "px@1080:0,0,500,500"},
    )
    (cut,) = Window()([clip])
    assert cut.facts["roi"] == "px:90,65,210,185"
    assert [f.shape for f in cut.fields["frames"]] == [(120, 120, 3)] * 2
    assert np.allclose(cut.fields["mesh"][0, 0], (10, 35, 0))
    (again,) = Window()([cut])
    assert again is cut, "a window is cut once"
    (other,) = Window()([Clip("y", "y", facts=SIZE)])
    assert other.facts == SIZE


def test_a_window_around_a_real_face_leaves_the_crop_as_it_is(tmp_path, clips, store, cut):
    path = cut(clips / "LipNet__bbaf2n.mpg", tmp_path / "s1.mp4", frames=10)
    (probed,) = Probe(min_s=0.1)([Clip("x", str(path), facts={"sha256": "0"})])
    (part,) = Segment()([probed])
    read, track = Read(), Track(store)
    for step in (read, track):
        step.setup()
    (tracked,) = track(read([part]))
    (windowed,) = Window()([tracked.noting(crop_ratio=1.8)])
    left, top, right, bottom = Roi.parse(str(windowed.facts["roi"])).box(360, 288)
    assert (right - left, bottom - top) < (300, 280)
    crops = []
    for clip in (tracked, windowed):
        step = Crop(CropSpec(size=64), margin=2.0, margin_px=128, min_face=24.0)
        step.setup()
        (cropped,) = step([clip])
        assert cropped.drop is None
        crops.append(cropped.fields["crop"].astype(int))
    middle = np.abs(crops[0] - crops[1])[:, 16:48, 16:48]
    assert middle.max() <= 2
