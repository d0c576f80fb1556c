from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from core.errors import InputError
from core.media.crop import (
    FLASHLIPS_128,
    LATENTSYNC_256,
    CropSpec,
    invert,
    paste,
    warp,
    warp_points,
)

SPEC = CropSpec(smoothing=0)


def similarity(scale, degrees, x, y):
    """Crop pixels -> frame pixels."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, [x, y]]).astype(np.float32)


def mesh(placing, jaw=0.0, spec=SPEC):
    points = np.random.default_rng(0).uniform(0, spec.size, (468, 3)).astype(np.float32)
    points[:, 1] += jaw
    for index, x, y in spec.points:
        points[index, :2] = (x * spec.size - 0.5, y * spec.size - 0.5)
    return warp_points(points, placing)


def smooth_picture(height, width):
    y, x = np.mgrid[:height, :width] / 40.0
    planes = [np.sin(x) + np.cos(y), np.sin(x + y), np.cos(x - 2 * y)]
    return np.clip(128 + 60 * np.stack(planes, -1), 0, 255).astype(np.uint8)


def test_fit_finds_the_placing_and_the_id_names_it():
    placing = similarity(2.3, 12, 300, 200)
    transform = SPEC.fit(mesh(placing)[None], np.array([True]))[0]
    assert transform.dtype == np.float32
    assert np.allclose(transform, invert(placing), atol=1e-3)
    assert FLASHLIPS_128.id == "flashlips@128"


def test_the_jaw_does_not_move_the_crop():
    placing = similarity(1.5, -5, 100, 80)
    meshes = np.stack([mesh(placing), mesh(placing, jaw=30)])
    still, dropped = SPEC.fit(meshes, np.ones(2, bool))
    assert (still == dropped).all()


def test_template_is_symmetric_and_inside():
    places = {index: (x, y) for index, x, y in SPEC.points}
    for right, left in ((33, 263), (133, 362)):
        assert places[right][0] + places[left][0] == pytest.approx(1)
        assert places[right][1] == places[left][1]
    assert all(0 < x < 1 and 0 < y < 0.5 for x, y in places.values())


def test_gaps_are_interpolated_and_ends_held():
    meshes = np.stack([mesh(similarity(2, 0, 10.0 * t, 50)) for t in range(6)])
    meshes[[0, 2, 3, 5]] = np.nan
    found = np.array([False, True, False, False, True, False])
    back = [invert(t) for t in SPEC.fit(meshes, found)]
    assert [round(float(t[0, 2])) for t in back] == [10, 10, 20, 30, 40, 40]


def test_no_face_at_all_is_said():
    with pytest.raises(InputError, match="no face"):
        SPEC.fit(np.zeros((3, 468, 3)), np.zeros(3, bool))


def test_smoothing_takes_jitter_and_keeps_motion():
    rng = np.random.default_rng(1)
    steps = np.arange(50)
    meshes = np.stack([mesh(similarity(2, 0, 3.0 * t, 50)) for t in steps])
    meshes[..., :2] += rng.normal(0, 2, (50, 1, 2))  # the whole mesh shakes
    x = {
        sigma: CropSpec(smoothing=sigma).fit(meshes, np.ones(50, bool))[:, 0, 2]
        for sigma in (0, 1.5)
    }
    shake = {sigma: np.std(np.diff(line, 2)[5:-5]) for sigma, line in x.items()}
    assert shake[1.5] < 0.3 * shake[0]
    assert np.polyfit(steps, x[1.5], 1)[0] == pytest.approx(np.polyfit(steps, x[0], 1)[0], rel=0.02)


def test_points_and_pixels_move_together():
    frame = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(frame, (180, 90), 4, (255, 255, 255), -1)
    for placing in (similarity(1.1, 20, 150, 20), similarity(2.2, -10, 60, 0)):
        transform = invert(placing)
        crop = warp(frame, transform, 96)
        y, x = (axis.mean() for axis in np.nonzero(crop[..., 0] > 127))
        want = warp_points(np.array([[180.0, 90.0]]), transform)[0]
        assert np.hypot(x - want[0], y - want[1]) < 0.5
        assert np.allclose(warp_points(want, placing), (180, 90), atol=1e-2)


def test_points_in_three_dimensions_keep_their_shape():
    points = np.array([[10.0, 20.0, 30.0]])
    assert warp_points(points, similarity(2, 90, 0, 0))[0] == pytest.approx([-40, 20, 60], abs=1e-4)


def test_shrinking_does_not_alias():
    y, x = np.mgrid[:800, :800]
    board = np.repeat((((x + y) % 2) * 255)[..., None], 3, -1).astype(np.uint8)
    crop = warp(board, invert(similarity(5.3, 3, 50, 50)), 96)
    assert crop[8:-8, 8:-8].std() < 12


def test_paste_touches_nothing_outside_and_restores_the_frame():
    frame = smooth_picture(400, 500)
    before = frame.copy()
    alpha = np.zeros((128, 128), np.float32)
    alpha[30:110, 20:100] = 1
    alpha = cv2.GaussianBlur(alpha, (9, 9), 2)
    alpha[alpha < 1e-3] = 0
    for placing in (similarity(2.0, 10, 120, 40), similarity(0.5, -15, 200, 150)):
        transform = invert(placing)
        out = paste(frame, np.full((128, 128, 3), 7, np.uint8), transform, alpha)
        assert (frame == before).all()
        corners = warp_points(np.array([[20, 30], [99, 30], [99, 109], [20, 109.0]]), placing)
        inside = np.zeros(frame.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
        far = cv2.dilate(inside, np.ones((31, 31), np.uint8)) == 0
        assert (out[far] == frame[far]).all()
        assert (out[cv2.erode(inside, np.ones((21, 21), np.uint8)) > 0] == 7).all()
        again = paste(frame, warp(frame, transform, 128), transform, alpha)
        assert np.abs(again.astype(int) - frame).mean() < 0.5
        nothing = paste(frame, np.zeros((128, 128, 3), np.uint8), transform, 0 * alpha)
        assert (nothing == frame).all()


def test_crops_over_the_edge_and_off_the_frame():
    frame = smooth_picture(100, 120)
    alpha = np.ones((64, 64), np.float32)
    over = paste(frame, np.zeros((64, 64, 3), np.uint8), invert(similarity(1, 0, 90, 70)), alpha)
    assert (over[75:, 95:] == 0).all()
    assert (over[:69, :89] == frame[:69, :89]).all()
    off = invert(similarity(1, 0, 500, 500))
    assert (paste(frame, np.zeros((64, 64, 3), np.uint8), off, alpha) == frame).all()
    assert warp(frame, off, 64).shape == (64, 64, 3)
    assert warp(frame, invert(similarity(3, 0, 900, 900)), 64).shape == (64, 64, 3)


def test_paste_into_4k_costs_little_more_than_the_copy():
    frame = np.zeros((2160, 3840, 3), np.uint8)
    crop, alpha = np.full((128, 128, 3), 9, np.uint8), np.ones((128, 128), np.float32)
    transform = invert(similarity(3, 0, 1000, 1000))
    paste(frame, crop, transform, alpha)
    start = time.perf_counter()
    paste(frame, crop, transform, alpha)
    assert time.perf_counter() - start < 0.5


def template_mesh(spec, placing):
    """A mesh whose template points lie on the template, placed in a frame, before the stretch."""
    points = np.zeros((468, 3), np.float32)
    for group, x, y in spec.points:
        spread = np.linspace(-3, 3, len(group))
        points[list(group), 0] = x * spec.size * spec.aspect - 0.5 + spread
        points[list(group), 1] = y * spec.size - 0.5 - spread
    return warp_points(points, placing)


@pytest.mark.parametrize("size", [256, 512])
def test_latentsyncs_three_points_land_on_its_template(size):
    spec = replace(LATENTSYNC_256, size=size)
    mesh = template_mesh(spec, similarity(1.7, 9, 200, 150))
    transform = spec.fit(mesh[None], np.array([True]))[0]
    landed = warp_points(mesh, transform)
    # On a canvas of 75 x 100: brows at (17, 20) and (58, 20), the nose at (37.5, 40).
    expected = [(17 / 75, 0.2), (58 / 75, 0.2), (0.5, 0.4)]
    for (group, _, _), place in zip(spec.points, expected, strict=True):
        assert np.allclose((landed[list(group), :2].mean(0) + 0.5) / size, place, atol=1e-3)


def test_latentsyncs_canvas_is_stretched_to_a_square():
    mesh = template_mesh(LATENTSYNC_256, similarity(2.0, 0, 0, 0))
    turn = LATENTSYNC_256.fit(mesh[None], np.array([True]))[0][:, :2]
    assert turn[0, 0] / turn[1, 1] == pytest.approx(4 / 3, abs=1e-4)
    assert LATENTSYNC_256.id == "latentsync@256" != CropSpec(size=256).id


def test_no_state_is_carried_from_clip_to_clip():
    one = np.stack([template_mesh(LATENTSYNC_256, similarity(2, 0, 10 * t, 0)) for t in range(9)])
    alone = LATENTSYNC_256.fit(one, np.ones(9, bool))
    LATENTSYNC_256.fit(one + 500, np.ones(9, bool))
    assert (LATENTSYNC_256.fit(one, np.ones(9, bool)) == alone).all()
