from __future__ import annotations

import numpy as np
import pytest

from core.media import shapes
from core.media.crop import CropSpec, warp_points
from core.testing import dummy_mesh
from models.experts.face import FaceMesh

SIZE = 128


@pytest.fixture
def face():
    return dummy_mesh((64.0, 30.0), 110.0)


def turned(mesh, yaw=0.0, pitch=0.0, roll=0.0):
    """A mesh turned about its middle; the senses of ``head_pose``."""
    a, b, c = np.radians([-yaw, -pitch, roll])
    about_y = [[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    about_z = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    middle = mesh.mean(0)
    turn = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
    return ((mesh - middle) @ turn.T + middle).astype(np.float32)


def test_pose_is_measured_with_its_signs(face):
    assert np.allclose(shapes.head_pose(face), 0, atol=0.5)
    pose = shapes.head_pose(np.stack([turned(face, yaw=20), turned(face, pitch=15)]))
    assert np.allclose(pose, [[20, 0, 0], [0, 15, 0]], atol=0.5)
    assert np.allclose(shapes.head_pose(turned(face, roll=-30)), [0, 0, -30], atol=0.5)
    tip = 195
    assert turned(face, yaw=20)[tip, 0] > face[tip, 0], "yaw is positive to the image's right"
    assert turned(face, pitch=15)[tip, 1] - face[tip, 1] < 0, "pitch is positive upwards"


def test_opening_is_the_gap_over_the_face_height():
    for asked in (0.0, 0.03, 0.1):
        mesh = dummy_mesh((64.0, 30.0), 110.0, opening=asked)
        assert shapes.opening(mesh) == pytest.approx(asked, abs=0.004)
        assert shapes.opening(turned(mesh, roll=40)) == pytest.approx(asked, abs=0.004)
        assert shapes.opening(mesh * 3 + 50) == pytest.approx(asked, abs=0.004)
    many = np.stack([dummy_mesh((0, 0), 200.0, opening=o) for o in (0.0, 0.05)])[None]
    assert shapes.opening(many).shape == (1, 2)


def test_to_face_takes_pose_and_size_out(face):
    want = shapes.to_face(face)
    again = shapes.to_face(turned(face, 15, -10, 25) * 2.5 - 40)
    assert np.abs(again - want).max() < 1e-3


def test_lower_face_mask_covers_mouth_and_jaw_but_not_the_eyes(face):
    mask = shapes.lower_face_mask(face, SIZE)
    assert mask.shape == (SIZE, SIZE)
    assert mask.dtype == bool
    for index in (13, 14, 17, 61, 291, 152):
        x, y = np.round(face[index, :2]).astype(int)
        assert mask[y, x], index
    for index in (33, 263, 168, 6):
        x, y = np.round(face[index, :2]).astype(int)
        assert not mask[y, x], index
    border = np.ones_like(mask)
    border[2:-2, 2:-2] = False
    assert not mask[border].any()


def test_lower_face_mask_does_not_tell_how_far_the_mouth_is_open():
    closed = shapes.lower_face_mask(dummy_mesh((64.0, 30.0), 110.0, 0.0), SIZE)
    wide = dummy_mesh((64.0, 30.0), 110.0, 0.12)
    assert (shapes.lower_face_mask(wide, SIZE) == closed).all()
    x, y = np.round(wide[152, :2]).astype(int)
    assert closed[y, x], "a wide-open jaw's chin lies inside"


def test_masks_in_a_row_do_not_follow_a_jittering_head_fit(face):
    rng = np.random.default_rng(0)
    scale = 1 + 0.01 * rng.standard_normal((40, 1, 1))
    still = face.mean(0) + (face - face.mean(0)) * scale
    alone = np.stack([shapes.lower_face_mask(points, SIZE) for points in still])
    steady = shapes.lower_face_masks(still, SIZE)
    flicker = [np.abs(np.diff(m.astype(int), axis=0)).sum((1, 2)).mean() for m in (alone, steady)]
    assert flicker[1] < flicker[0] / 4
    assert (steady[0] == shapes.lower_face_mask(face, SIZE)).mean() > 0.99


def test_lips_mask_lies_in_the_mouth_box(face):
    lips = shapes.lips_mask(face, SIZE)
    x0, y0, x1, y1 = shapes.mouth_box(face, SIZE)
    assert lips.sum() > 30
    outside = lips.copy()
    outside[y0:y1, x0:x1] = False
    assert not outside.any()
    assert 0 <= x0 < x1 <= SIZE
    wider = shapes.mouth_box(face, SIZE, margin=0.5)
    assert wider[0] < x0
    assert wider[3] > y1
    away = shapes.mouth_box(face + 500, SIZE)
    assert away[0] < away[2] <= SIZE
    assert away[1] < away[3] <= SIZE


def test_paste_alpha_is_soft_inside_and_nothing_outside(face):
    mask = shapes.lower_face_mask(face, SIZE)
    alpha = shapes.paste_alpha(face, SIZE)
    assert alpha.dtype == np.float32
    assert (alpha == shapes.paste_alpha(mask, SIZE)).all()
    assert (alpha[~mask] == 0).all()
    assert alpha.max() == 1
    x, y = np.round(face[14, :2]).astype(int)
    assert alpha[y, x] > 0.99
    assert np.abs(np.diff(alpha, axis=0)).max() < 0.35
    full = shapes.paste_alpha(np.ones((SIZE, SIZE), bool), SIZE)
    assert full[0].max() == full[-1].max() == full[:, 0].max() == full[:, -1].max() == 0


def test_on_a_real_clip_the_mask_follows_the_head_and_not_the_mouth(clips, store):
    from core.media.video import read_frames

    net, meshes = FaceMesh(store), []
    for _, frame in read_frames(clips / "LipNet__lbax4n.mpg"):
        found = net.track(frame)
        assert found is not None
        meshes.append(found.landmarks)
    mesh = np.stack(meshes)
    transforms = CropSpec().fit(mesh, np.ones(len(mesh), bool))
    points = np.stack([warp_points(p, t) for p, t in zip(mesh, transforms, strict=True)])
    gap = shapes.opening(points)
    assert gap.min() < 0.015
    assert gap.max() > 0.07
    masks = np.stack([shapes.lower_face_mask(p, SIZE) for p in points])
    shut, wide = masks[gap < 0.02].mean(0), masks[gap > 0.06].mean(0)
    assert np.abs(shut - wide).sum() < 0.05 * masks[0].sum()
    jaw = points[:, 152, 1]
    assert jaw.max() < 0.97 * SIZE
    assert jaw[gap > 0.06].mean() - jaw[gap < 0.02].mean() > 3, "the chin does move in the crop"
