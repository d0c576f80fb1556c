from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.weights import Store
from models.experts.sync import REACH, distance_matrix, load_sync, synchrony
from models.experts.syncnet import SyncNet, SyncNetExpert, face_boxes, mfcc
from tests.models import crc_weights


def test_the_measure_finds_the_offset_and_its_sign():
    rng = np.random.default_rng(0)
    track = rng.normal(size=(140, 8))
    for early in (-7, 0, 4):  # sound that comes `early` frames before the lips
        picture, sound = track[20:120], track[20 + early : 120 + early]
        found = synchrony(distance_matrix(picture, sound))
        assert found.offset == early
        assert found.confidence > 1
        assert found.distance < 1.5
    unrelated = synchrony(distance_matrix(track[:100], rng.normal(size=(100, 8))))
    assert unrelated.confidence < 0.5


def test_distances_are_euclidean_and_silent_beyond_the_ends():
    matrix = distance_matrix(np.full((4, 1), 3.0), np.arange(4.0)[:, None], reach=1)
    assert matrix.tolist() == [[3, 3, 2], [3, 2, 1], [2, 1, 0], [1, 0, 3]]
    assert distance_matrix(np.zeros((2, 1)), np.zeros((2, 1))).shape == (2, 2 * REACH + 1)


def test_mfcc_are_the_ones_it_was_trained_on():
    """Golden values of python_speech_features 0.6; its whole output is the same to the last bit."""
    found = mfcc(np.sin(np.arange(1600) * 0.3) * 0.5)
    assert found.shape == (9, 13)
    np.testing.assert_allclose(found[0, :4], [21.5779, 8.1458, -20.3353, -36.9968], atol=1e-4)
    np.testing.assert_allclose(found[5, :4], [21.5745, 23.4287, -8.4363, -28.7952], atol=1e-4)
    assert mfcc(np.zeros(100)).shape == (1, 13)


def test_the_face_box_is_the_mesh_square_with_room_below_and_beside():
    mesh = np.full((20, 468, 3), 120, np.float32)
    mesh[:, 0, :2], mesh[:, 1, :2] = (100, 50), (180, 150)  # half size 50, middle (140, 100)
    maps = face_boxes(mesh)
    corners = maps[0, :, :2] @ np.array([[70.0, 210.0], [50.0, 190.0]]) + maps[0, :, 2:]
    np.testing.assert_allclose(corners, [[0, 224], [0, 224]], atol=1e-3)


def test_the_expert_loads_and_judges(tmp_path):
    assert load_sync("syncnet_v2", Store((tmp_path,))) is None
    save_file(crc_weights.filled(SyncNet()).state_dict(), tmp_path / "syncnet_v2.safetensors")
    expert = load_sync("syncnet_v2", Store((tmp_path,)))
    assert isinstance(expert, SyncNetExpert)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (60, 60, 3), np.uint8) for _ in range(7)]
    mesh = rng.uniform(10, 50, (7, 468, 3)).astype(np.float32)
    sound = rng.normal(size=7 * 640).astype(np.float32) * 0.1
    found = expert.distances(iter(frames), mesh, sound)
    assert found.shape == (3, 31)
    assert np.isfinite(found).all()
    assert np.array_equal(found, expert.distances(frames, mesh, sound))


def test_wrong_names_and_files_are_sentences(tmp_path):
    with pytest.raises(InputError, match="no sync expert 'nobody'"):
        load_sync("nobody", Store(()))
    save_file({"a": torch.zeros(1)}, tmp_path / "syncnet_v2.safetensors")
    with pytest.raises(InputError, match="no SyncNet v2"):
        load_sync("syncnet_v2", Store((tmp_path,)))
