from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from core.media.crop import FLASHLIPS_128, invert, paste, warp
from core.media.picture import Picture, planes
from core.media.video import VideoWriter, probe, read_frames, read_pictures
from core.testing import talking_frame
from tests.preprocessing.odd_files import turned

FPS = Fraction(25)


@pytest.fixture(scope="module", params=[(1, 1, 1), (5, 6, 5), (2, 2, 2)])
def video(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "in.mp4"
    writer = VideoWriter(path, 320, 240, FPS, crf=12)
    writer.colours = request.param
    with writer as out:
        for index in range(3):
            out.write(talking_frame(index)[0])
    return path


def first(path):
    (_, frame), (_, picture) = next(read_frames(path)), next(read_pictures(path))
    assert isinstance(picture, Picture)
    return frame, picture


def transform():
    mesh = talking_frame(0)[1]
    return FLASHLIPS_128.fit(mesh[None], np.ones(1, bool))[0]


def test_it_is_the_frame_wherever_it_is_looked_at(video):
    frame, picture = first(video)
    assert picture.shape == frame.shape
    assert np.array_equal(np.asarray(picture), frame)
    for rows, columns in (((0, 240), (0, 320)), ((31, 90), (17, 18)), ((3, 4), (0, 320))):
        part = (slice(*rows), slice(*columns))
        assert np.array_equal(picture[part], frame[part])
    assert picture[300:400, 0:9].size == 0
    assert picture[5, 6].tolist() == frame[5, 6].tolist()
    assert np.array_equal(picture[::7, 3::9, 0], frame[::7, 3::9, 0])


@pytest.mark.parametrize("zoom", [0.3, 1.0, 4.0])
def test_crops_cut_from_it_are_the_frames(video, zoom):
    frame, picture = first(video)
    matrix = transform().astype(np.float64) * zoom
    apart = warp(picture, matrix, 128).astype(int) - warp(frame, matrix, 128)
    assert np.abs(apart).max() <= 2, "places are rounded to 1/32 of a pixel"
    away = matrix.copy()
    away[:, 2] += 40 * zoom  # partly outside the frame
    for fill in (None, 0):
        apart = warp(picture, away, 128, fill).astype(int) - warp(frame, away, 128, fill)
        assert np.abs(apart).max() <= 2


def test_what_is_pasted_lies_where_it_lies_in_a_frame(video):
    frame, picture = first(video)
    matrix, alpha = transform(), np.zeros((128, 128), np.float32)
    alpha[60:110, 30:100] = 1
    alpha[50:60, 30:100] = 0.5
    crop = 255 - warp(frame, matrix, 128)
    ours, theirs = (
        np.asarray(paste(picture, crop, matrix, alpha)),
        paste(frame, crop, matrix, alpha),
    )
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.mean() < 1
    inside = warp(theirs.astype(np.float32), matrix, 128)[64:106, 34:96]
    assert np.abs(warp(ours.astype(np.float32), matrix, 128)[64:106, 34:96] - inside).mean() < 3


def test_samples_outside_of_what_is_pasted_are_the_very_same(video):
    _, picture = first(video)
    matrix, alpha = transform(), np.zeros((128, 128), np.float32)
    alpha[60:110, 30:100] = 1
    before = [plane.copy() for plane in planes(picture.frame)]
    after = paste(picture, np.zeros((128, 128, 3), np.uint8), matrix, alpha)
    back = invert(matrix.astype(np.float64))
    corners = np.array([[29, 59], [101, 111]]) @ back[:, :2].T + back[:, 2]
    for index, (old, new) in enumerate(zip(before, planes(after.frame), strict=True)):
        (x0, y0), (x1, y1) = corners / (1 + (index > 0))
        changed = np.argwhere(old != new)
        assert len(changed) > 500
        assert (changed >= [y0 - 1.5, x0 - 1.5]).all()
        assert (changed <= [y1 + 1.5, x1 + 1.5]).all()
    same = [np.array_equal(a, b) for a, b in zip(before, planes(picture.frame), strict=True)]
    assert all(same), "the picture itself stays as it is"


def test_every_sample_reaches_the_encoder(video, tmp_path):
    """Without loss: what is written and was not touched comes back bit for bit."""
    pictures = [p for _, p in read_pictures(video)]
    writer = VideoWriter(tmp_path / "out.mp4", 320, 240, FPS, crf=0)
    writer.colours = probe(video).colours
    with writer as out:
        for picture in pictures:
            out.write(picture)
    for old, (_, new) in zip(pictures, read_pictures(tmp_path / "out.mp4"), strict=True):
        for a, b in zip(planes(old.frame), planes(new.frame), strict=True):
            assert np.array_equal(a, b)


def test_a_turned_video_is_turned(video, tmp_path):
    path = tmp_path / "turned.mp4"
    path.write_bytes(video.read_bytes())
    frame, picture = first(turned(path))
    assert np.array_equal(np.asarray(picture), frame)
    assert picture.shape == (320, 240, 3)
