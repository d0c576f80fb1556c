from __future__ import annotations

import itertools
import socket

import numpy as np
import pytest

from core.clip import Clip
from core.errors import InputError
from core.media.crop import CropSpec, warp, warp_points
from core.media.parsing import CLASSES, LIPS
from core.media.shapes import fixed_mask, lips_mask
from core.media.video import read_frames
from core.testing import talking_frame
from core.weights import Store
from models.experts.face import FaceMesh
from models.experts.parsing import SegFormer
from preprocessing.steps.masks import Masks, latent_mask
from preprocessing.steps.parsing import Parsing
from tests.models import tiny

SIZE, COUNT = 64, 3


@pytest.fixture
def clip():
    pairs = [talking_frame(i, SIZE, SIZE) for i in range(COUNT)]
    fields = {
        "crop": np.stack([f for f, _ in pairs]),
        "landmarks": np.stack([m for _, m in pairs]),
    }
    return Clip("x", "x", fields=fields)


def test_segformer_from_a_folder_gives_our_ids(tmp_path, clip, monkeypatch):
    def refuse(*_):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    step = Parsing("segformer", Store(()), str(tiny.segformer(tmp_path / "net", CLASSES)))
    step.setup()
    (one,) = step([clip])
    labels = one.fields["parsing"]
    assert (labels.shape, labels.dtype) == ((COUNT, SIZE, SIZE), np.uint8)
    assert labels.max() < len(CLASSES)
    (again,) = step([clip])
    assert np.array_equal(again.fields["parsing"], labels)
    assert step.origin()["parsing"].startswith("segformer@")


def test_the_nets_own_order_of_classes_does_not_matter(tmp_path, clip):
    names = [{"l_eye": "left_eye", "u_lip": "upper_lip"}.get(name, name) for name in CLASSES]
    straight = SegFormer(str(tiny.segformer(tmp_path / "a", names)), Store(()))
    turned = SegFormer(str(tiny.segformer(tmp_path / "b", names[::-1])), Store(()))
    crop = clip.fields["crop"][0]
    # The same net with its names reversed: the same maps with ids reversed.
    assert np.array_equal(straight.parse(crop), 18 - turned.parse(crop))


def test_what_is_missing_is_said_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"segformer_face_parsing.*jonathandinu"):
        Parsing("segformer", Store((tmp_path,))).origin()
    with pytest.raises(InputError, match=r"no folder with config\.json"):
        SegFormer(str(tmp_path / "nothing"), Store(()))
    with pytest.raises(InputError, match="none of a face"):
        SegFormer(str(tiny.segformer(tmp_path / "c", ["background", "cat"])), Store(()))


def test_polygons_need_no_weights_and_give_the_lips(clip):
    step = Parsing("landmarks", Store(()))
    step.setup()
    (parsed,) = step([clip])
    assert step.origin() == {"parsing": "landmarks@1"}
    (masked,) = Masks(lips="parsing")([parsed])
    assert np.array_equal(masked.fields["lips_mask"], np.isin(parsed.fields["parsing"], LIPS))
    (drawn,) = Masks()([clip])
    area = masked.facts["lips_area"]
    assert area == pytest.approx(drawn.facts["lips_area"], rel=0.1)
    assert area == pytest.approx(masked.fields["lips_mask"].sum((1, 2)).mean(), abs=0.1)


def test_a_fixed_mask_follows_the_spec_and_not_the_face(clip):
    step = Masks("fixed")
    (done,) = step([clip])
    assert step.origin() == {"mask": "fixed@1"}
    assert all(np.array_equal(m, fixed_mask(SIZE)) for m in done.fields["mask"])
    assert np.array_equal(done.fields["lips_mask"][0], lips_mask(clip.fields["landmarks"][0], SIZE))


def test_the_latent_mask_covers_every_hidden_pixel(clip):
    (done,) = Masks(stride=8)([clip])
    mask, latent = done.fields["mask"], done.fields["mask_latent"]
    assert latent.shape == (COUNT, SIZE // 8, SIZE // 8)
    whole = latent.repeat(8, 1).repeat(8, 2)
    assert (whole | ~mask).all()
    assert whole.sum() < 2 * mask.sum()
    with pytest.raises(InputError, match="latent_stride=7"):
        latent_mask(mask, 7)


def test_polygons_on_a_real_face(clips, store):
    path = clips / "LipNet__bbaf2n.mpg"
    (_, frame) = next(itertools.islice(read_frames(path), 1))
    mesh = FaceMesh(store).track(frame).landmarks
    transform = CropSpec(size=128).fit(mesh[None], np.ones(1, bool))[0]
    clip = Clip("x", "x", fields={
        "crop": warp(frame, transform, 128)[None],
        "landmarks": warp_points(mesh, transform)[None],
    })  # fmt: skip
    (done,) = Parsing("landmarks", Store(()))([clip])
    labels = done.fields["parsing"][0]
    share = {name: (labels == i).mean() for i, name in enumerate(CLASSES)}
    assert share["skin"] > 0.3
    for name in ("l_eye", "r_eye", "l_brow", "r_brow", "u_lip", "l_lip"):
        assert 0.002 < share[name] < 0.05, name
    rows = {name: np.argwhere(labels == i)[:, 0].mean() for i, name in enumerate(CLASSES)
            if share[name]}  # fmt: skip
    assert rows["l_brow"] < rows["l_eye"] < rows["u_lip"] < rows["l_lip"]
