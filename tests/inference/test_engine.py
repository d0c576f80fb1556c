from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from core.contracts import PredictorSpec
from core.media.crop import FLASHLIPS_128, invert, paste, warp_points
from core.media.shapes import paste_alpha
from core.media.video import read_frames
from core.testing import DummyPredictor, dummy_frame, dummy_mesh
from inference.engine import Clock, Windows, _Item, colour_cast, edit_frames, paste_part, recoloured
from inference.plan import plan_crops, plan_frames
from inference.tracks import follow


def windows_of(count, window, overlap, edit):
    spec = PredictorSpec(None, 25.0, window, overlap, 0, "frame")
    predictor = DummyPredictor(spec, edit)
    windows, done = Windows(predictor, spec, Clock()), []
    for index in range(count):
        frame = np.full((2, 2, 3), index, np.uint8)
        done += windows.push(_Item(index, index / 25, frame, frame))
    return done + windows.flush(), predictor.calls


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 17, 28, 29, 40])
@pytest.mark.parametrize(("window", "overlap"), [(1, 0), (4, 0), (16, 4), (16, 15)])
def test_windows_keep_order_and_count(count, window, overlap):
    done, calls = windows_of(count, window, overlap, lambda views, call: views + 100)
    assert [item.index for item, _ in done] == list(range(count))
    assert [int(view[0, 0, 0]) for _, view in done] == [100 + i for i in range(count)]
    assert max(len(call) for call in calls) <= window
    for before, after in itertools.pairwise(calls):
        assert np.array_equal(before[len(before) - overlap :], after[:overlap])


def test_overlap_goes_over_from_one_window_to_the_next():
    done, calls = windows_of(28, 16, 4, lambda views, call: np.full_like(views, 100 * call))
    values = [int(view[0, 0, 0]) for _, view in done]
    assert len(calls) == 2
    assert values == [0] * 12 + [20, 40, 60, 80] + [100] * 12


def crop_run(media, predictor, faces, blind=()):
    frames = list(read_frames(media / "talk.mp4"))
    tracks = follow(frames, [faces(blind)])[0]
    plan = plan_crops(tracks, predictor.spec.crop, (320, 240), 4)
    out = [
        f for _, f in edit_frames(frames, plan, predictor.prepare([], []), predictor.spec, Clock())
    ]
    return [frame for _, frame in frames], out, plan


def reach_of(plan, index, frame):
    """Frame pixels whose place in the crop lies within two pixels of where the mask is not 0."""
    transform = plan.transforms[index]
    alpha = paste_alpha(warp_points(plan.tracks.landmarks[index], transform), 128) > 0
    near = cv2.dilate(alpha.astype(np.uint8), np.ones((5, 5), np.uint8))
    size = (frame.shape[1], frame.shape[0])
    return cv2.warpAffine(near, invert(transform), size, flags=cv2.INTER_NEAREST).astype(bool)


def test_pixels_outside_the_pasted_region_are_the_very_same(media, faces):
    before, after, plan = crop_run(media, DummyPredictor(), faces)
    assert len(after) == len(before) == 40
    for index in range(40):
        changed = (before[index] != after[index]).any(-1)
        inside = reach_of(plan, index, before[index])
        assert not (changed & ~inside).any()
        assert changed.sum() > 1500
        assert inside.sum() < 0.2 * inside.size


def test_frames_without_a_face_pass_through_and_the_edit_fades(media, faces):
    blind = range(18, 22)
    before, after, plan = crop_run(media, DummyPredictor(), faces, blind)
    change = [
        np.abs(a.astype(int) - b).mean() if i not in blind else 0.0
        for i, (a, b) in enumerate(zip(before, after, strict=True))
    ]
    for index in blind:
        assert np.array_equal(before[index], after[index])
    assert 0 < change[17] < change[16] < change[15] < change[14]
    assert 0 < change[22] < change[23] < change[24] < change[25]
    assert [(r["first"], r["last"], r["reason"]) for r in plan.untouched()] == [
        (18, 21, "no face found")
    ]


def test_no_window_reaches_across_a_gap(media, faces):
    spec = PredictorSpec(FLASHLIPS_128, 25.0, 16, 4, 4)
    predictor = DummyPredictor(spec)
    _, after, _ = crop_run(media, predictor, faces, blind=[20])
    assert len(after) == 40
    for call in predictor.calls:
        assert np.ptp(call) < 16 / 25
        assert not (call.min() < 20 / 25 < call.max())


def test_an_edit_that_changes_nothing_leaves_no_box(media, faces):
    keep = DummyPredictor(edit_with=lambda views, call: views)
    before, after, _ = crop_run(media, keep, faces)
    worst = max(np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True))
    assert worst < 0.3


def test_a_colour_cast_is_taken_back(media, faces):
    def cast(views, call):
        return np.clip(views * 0.92 + np.array([14, -6, 4]), 0, 255).astype(np.uint8)

    before, after, plan = crop_run(media, DummyPredictor(edit_with=cast), faces)
    index = 20
    inside = reach_of(plan, index, before[index])
    plain = np.abs(cast(before[index], 0).astype(int) - before[index])[inside].mean()
    left = np.abs(after[index].astype(int) - before[index])[inside].mean()
    assert left < 0.35 * plain


def test_colour_cast_does_nothing_without_a_ring():
    crop = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    cast = colour_cast(crop, 255 - crop, np.ones((32, 32), np.float32))
    assert np.array_equal(recoloured(crop, cast), crop)


def test_whole_frame_systems_get_whole_frames():
    spec = PredictorSpec(None, 25.0, 8, 2, 3, "frame")
    frames = [(i / 25, dummy_frame(i)) for i in range(21)]
    plan = plan_frames([t for t, _ in frames], 3)
    predictor = DummyPredictor(spec, lambda views, call: 255 - views)
    out = [f for _, f in edit_frames(frames, plan, predictor.prepare([], []), spec, Clock())]
    assert plan.references == (3, 10, 17)
    assert all(np.array_equal(o, 255 - f) for o, (_, f) in zip(out, frames, strict=True))


def test_never_more_frames_out_than_were_tracked(media):
    frames = list(read_frames(media / "nobody.mp4"))
    plan = plan_frames([t for t, _ in frames[:5]], 1)
    spec = PredictorSpec(None, 25.0, 4, 1, 1, "frame")
    assert len(list(edit_frames(frames, plan, DummyPredictor(spec), spec, Clock()))) == 5


def test_clock_counts_frames_by_part():
    clock = Clock()
    assert list(clock.timed("decode", range(5))) == [0, 1, 2, 3, 4]
    with clock.part("edit", 7):
        pass
    assert clock.frames == {"decode": 5, "edit": 7}
    assert clock.fps().keys() == {"decode", "edit"}


def test_pasting_the_part_that_shows_equals_pasting_all():
    frame = dummy_frame(3, 320, 240)
    mesh = dummy_mesh((160, 90), 150, roll=12)
    transform = FLASHLIPS_128.fit(mesh[None], np.array([True]))[0]
    alpha = paste_alpha(warp_points(mesh, transform), 128)
    crop = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    whole = paste(frame, crop, transform, alpha).astype(int)
    assert np.abs(paste_part(frame, crop, transform, alpha) - whole).max() <= 1
    assert np.array_equal(paste_part(frame, crop, transform, 0 * alpha), frame)
