from __future__ import annotations

import numpy as np

from core.testing import dummy_mesh
from models.experts.expression import EXPRESSION_DIM, NEUTRAL, expression


def face(opening=0.0):
    mesh = dummy_mesh((60.0, 30.0), 110.0, opening)
    return mesh


def test_shape_type_and_batches():
    one = expression(face())
    assert one.shape == (EXPRESSION_DIM,)
    assert one.dtype == np.float32
    many = expression(np.stack([face(), face(0.05)])[None])
    assert many.shape == (1, 2, EXPRESSION_DIM)
    assert np.allclose(many[0, 0], one, atol=1e-4)


def test_position_size_and_rotation_do_not_matter():
    mesh = face(0.04)
    angle = 0.4
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    moved = (2.5 * mesh @ turn.T + np.array([300, -20, 5])).astype(np.float32)
    assert np.abs(expression(moved) - expression(mesh)).max() < 0.05


def test_opening_moves_the_features_by_about_one_a_unit():
    shut, wide = expression(face()), expression(face(0.1))
    assert 0.3 < np.abs(wide - shut).max() < 10


def test_both_sides_are_there_once():
    points = {i for row in NEUTRAL for i in row[:2]}
    assert 3 * len(points) == EXPRESSION_DIM
    assert {13, 14, 61, 291, 152} <= points


def test_real_faces_give_numbers_of_order_one(clips, store):
    from core.media.video import read_frames
    from models.experts.face import FaceMesh

    net, values = FaceMesh(store), []
    for path in sorted(clips.glob("LipNet__*.mpg")):
        net.reset()
        values += [expression(net.track(f).landmarks) for _, f in read_frames(path, None, 0.2)]
    values = np.stack(values)
    assert np.isfinite(values).all()
    assert 0.2 < values.std() < 3
