from __future__ import annotations

import numpy as np

from core.media import shapes
from core.media.parsing import CLASSES, LIPS, polygon_parsing
from core.sample import decode_field, encode_field
from core.testing import dummy_mesh, talking_frame

SIZE = 128


def test_polygons_say_what_lies_where():
    mesh = dummy_mesh((64.0, 30.0), 90.0, opening=0.1)
    labels = polygon_parsing(mesh, SIZE)
    assert labels.dtype == np.uint8

    def at(point):
        x, y = np.round(point).astype(int)
        return CLASSES[labels[y, x]]

    assert at((mesh[13, :2] + mesh[14, :2]) / 2) == "mouth"
    assert at((mesh[0, :2] + mesh[13, :2]) / 2) == "u_lip"
    assert at((mesh[17, :2] + mesh[14, :2]) / 2) == "l_lip"
    assert at((2, 2)) == "background"


def test_lips_of_the_polygons_are_the_lips_mask():
    for opening in (0.0, 0.08):
        mesh = dummy_mesh((64.0, 30.0), 90.0, opening)
        parsed = np.isin(polygon_parsing(mesh, SIZE), LIPS)
        mask = shapes.lips_mask(mesh, SIZE)
        assert (parsed & mask).sum() / (parsed | mask).sum() > 0.97


def test_fixed_mask_has_the_templates_bounds_and_follows_nobody():
    mask = shapes.fixed_mask(256)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    bounds = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 256
    assert np.allclose(bounds, shapes.FIXED_MASK, atol=1.5 / 256)
    assert abs(mask.mean() - 0.42) < 0.01
    assert (mask == mask[:, ::-1]).mean() > 0.995


def test_labels_round_trip_and_are_small():
    meshes = [talking_frame(i, SIZE, SIZE)[1] for i in range(50)]
    labels = np.stack([polygon_parsing(mesh, SIZE) for mesh in meshes])
    data = encode_field("parsing", labels)
    back = decode_field("parsing", data)
    assert back.dtype == np.uint8
    assert np.array_equal(back, labels)
    assert len(data) < labels.size / 40
    noise = np.random.default_rng(0).integers(0, 19, (3, 8, 8), np.uint8)
    assert np.array_equal(decode_field("parsing", encode_field("parsing", noise)), noise)
