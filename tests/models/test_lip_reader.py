from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from models.experts import lip_reader
from models.experts.lip_reader import (
    FAN,
    MEAN,
    MEAN_FACE,
    STABLE,
    STD,
    LipReader,
    LipReaderNet,
    agreement,
    mouth_crops,
    unread,
)
from tests.models import crc_weights

SCALE, SHIFT = 2.0, np.array([40.0, 30.0])
MIDDLE = np.array([129.0, 158.0])
"""Of the mouth, in the mean face; so the crop begins 44 px before it."""


def _mesh(frames=1, mouth=MIDDLE):
    """Meshes of the mean face, enlarged by SCALE and moved by SHIFT."""
    points = np.full((68, 2), 128.0)
    points[48:68] = (20 * mouth - MEAN_FACE[-2:].sum(0)) / 18
    points[list(STABLE)] = MEAN_FACE
    mesh = np.zeros((frames, 468, 3), np.float32)
    mesh[:, list(FAN), :2] = points * SCALE + SHIFT
    return mesh


def _ramp(axis, side=600):
    """Red rises along an axis by one in four pixels."""
    grey = np.broadcast_to(np.arange(side)[:, None] / 4, (side, side))
    grey = np.round(grey if axis == "y" else grey.T).astype(np.uint8)
    return np.stack([grey, 0 * grey, 0 * grey], -1)


def test_a_mouth_lies_where_the_mean_face_has_it():
    place = (MIDDLE[:, None] - 44 + np.arange(88)) * SCALE + SHIFT[:, None]
    for axis, where, along in (("x", place[0], 0), ("y", place[1], 1)):
        (crop,) = mouth_crops([_ramp(axis)], _mesh())
        golden = (0.2989 * where / 4 / 255 - MEAN) / STD
        np.testing.assert_allclose(crop.mean(along), golden, atol=0.2989 * 0.6 / 255 / STD)


def test_a_moving_head_is_followed_and_a_jittering_point_is_calmed():
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (620, 620, 3), np.uint8), (0, 0), 8) * 4
    moves = rng.integers(0, 20, (9, 2))
    frames = [np.roll(picture, move, (1, 0)) for move in moves]
    mesh = _mesh(9)
    mesh[..., :2] += moves[:, None]
    crops = mouth_crops(iter(frames), mesh)
    assert np.abs(crops - crops[0]).max() < 0.05
    shaky = mesh.copy()
    middle = mesh[:, list(FAN)].mean(1, keepdims=True)
    shaky[..., :2] += (np.arange(9) % 2 * 0.1 - 0.05)[:, None, None] * (mesh - middle)[..., :2]
    apart = np.abs(mouth_crops(frames, shaky)[4] - crops[4]).mean()
    alone = np.abs(mouth_crops(frames[4:5], shaky[4:5])[0] - crops[4]).mean()
    assert apart < alone / 3


def test_a_mouth_that_is_elsewhere_is_a_sentence():
    frame = np.zeros((600, 600, 3), np.uint8)
    mouth_crops([frame], _mesh(mouth=MIDDLE + np.array([50, 0])))
    with pytest.raises(InputError, match="frame 0: the mouth is not where"):
        mouth_crops([frame], _mesh(mouth=MIDDLE + np.array([56, 0])))
    for mesh in (np.zeros((1, 468, 3)), np.full((1, 468, 3), np.nan)):
        with pytest.raises(InputError, match="frame 0"):
            mouth_crops([frame], mesh)


@pytest.fixture
def narrow(monkeypatch):
    """The net at a fraction of its width, filled."""
    for name, value in {"WIDTH": 32, "HEADS": 4, "INNER": 48, "DEPTH": 2, "BATCH": 3}.items():
        monkeypatch.setattr(lip_reader, name, value)
    return crc_weights.filled(LipReaderNet())


def test_a_narrow_net_computes_what_it_did_when_the_wide_one_was_right(narrow):
    """The wide one is held to published outputs by test_parity, which takes a minute."""
    mouths = torch.from_numpy(crc_weights.normal("auto_avsr.input", (1, 8, 88, 88)))
    with torch.inference_mode():
        found = narrow(mouths)[0].numpy()
    golden = [15.96482, 12.68448, -5.890401, 34.02148]
    assert crc_weights.apart(crc_weights.sketch(found), golden) < 1e-5


def test_published_files_load_and_long_videos_go_in_pieces(narrow, tmp_path):
    file = tmp_path / "lips.safetensors"
    rest = {key: torch.zeros(1) for key in unread()}
    assert len(rest) == 163
    save_file(narrow.state_dict() | rest, file)
    reader = LipReader(file)
    mouths = crc_weights.normal("mouths", (8, 88, 88))
    with torch.inference_mode():
        golden = narrow(torch.from_numpy(mouths)[None])[0].numpy()
    np.testing.assert_allclose(reader.embed(mouths), golden, atol=1e-5)
    assert reader.embed(mouths[:1]).shape == (1, 32)


@pytest.mark.parametrize("change", ["more", "fewer", "shape"])
def test_other_files_are_refused(narrow, tmp_path, change):
    tensors = narrow.state_dict()
    if change == "more":
        tensors["decoder.decoders.6.norm1.weight"] = torch.zeros(1)
    elif change == "fewer":
        del tensors["encoder.after_norm.bias"]
    else:
        tensors["encoder.after_norm.bias"] = torch.zeros(3)
    save_file(tensors, tmp_path / "lips.safetensors")
    with pytest.raises(InputError, match="no auto_avsr lip reader"):
        LipReader(tmp_path / "lips.safetensors")


def test_agreement_is_the_cosine_of_each_frame():
    ours, theirs = np.array([[1.0, 0], [3, 4], [0, 0]]), np.array([[-2.0, 0], [6, 8], [1, 0]])
    np.testing.assert_allclose(agreement(ours, theirs), [-1, 1, 0])
    with pytest.raises(InputError, match="3 and 2 frames"):
        agreement(ours, theirs[:2])
