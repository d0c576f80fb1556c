"""The InsightFace backend: its own logic with stand-in nets, and what missing parts are called."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import InputError
from core.weights import REGISTRY, Store
from models.experts import insight
from models.experts.face import Face
from models.experts.insight import ArcFace, InsightFaces, open_model

ANNA, BEN = np.eye(4, dtype=np.float32)[:2]


def face(x, side):
    """A face whose box is a square of ``side`` at ``x``, 0."""
    corners = np.array([[x, 0, 0], [x + side, side, 0]], np.float32)
    return Face(np.repeat(corners, 234, 0), 1.0, (x, 0, x + side, side))


class Nets(InsightFaces):
    """The backend with nets that were told what they see: frame number -> {x, side, who}."""

    def __init__(self, scenes):
        self._scenes = scenes
        self.reset()
        self._finder = SimpleNamespace(detect=self._boxes)
        self._who = SimpleNamespace(embed=self._vector)

    def _boxes(self, frame):
        seen = self._scenes[int(frame[0, 0, 0])]
        boxes = [[x, 0, x + side, side, 0.9] for x, side, _ in seen] + [[500, 0, 600, 99, 0.2]]
        return np.array(boxes, np.float32), np.zeros((len(boxes), 5, 2), np.float32)

    def _vector(self, frame, landmarks):
        return {x: who for x, _, who in self._scenes[int(frame[0, 0, 0])]}[landmarks[0, 0]]

    def _face_at(self, frame, box, eyes):
        return face(box[0], box[2] - box[0])

    def _mesh_in(self, picture, region):
        return face(self._last[0, 0], 100)


def follow(scenes):
    nets = Nets(scenes)
    nets.reset()
    found = [nets.track(np.full((4, 4, 3), i, np.uint8)) for i in range(len(scenes))]
    return [None if f is None else f.box[0] for f in found]


def test_the_largest_face_is_followed_and_weak_boxes_are_none():
    nets = Nets([[(0, 100, ANNA), (200, 150, BEN)]])
    faces = nets.detect(np.zeros((4, 4, 3), np.uint8))
    assert [f.box[0] for f in faces] == [200, 0]
    assert follow([[(0, 100, ANNA), (200, 150, BEN)]]) == [200]


def test_after_a_gap_it_goes_on_with_the_same_person_only():
    anna, ben = (0, 100, ANNA), (200, 150, BEN)
    assert follow([[anna], [], [ben], [ben, anna]]) == [0, None, None, 0]


def test_a_new_clip_forgets_whose_face_it_was():
    nets = Nets([[(0, 100, ANNA)], [(200, 150, BEN)]])
    nets.reset()
    assert nets.track(np.zeros((4, 4, 3), np.uint8)).box[0] == 0
    nets.reset()
    assert nets.track(np.ones((4, 4, 3), np.uint8)).box[0] == 200


def test_a_mesh_where_the_detector_sees_nothing_is_not_followed():
    assert follow([[(0, 100, ANNA)], [(300, 100, ANNA)]]) == [0, 300]


def test_embeddings_have_length_one():
    net = ArcFace(Store(()))
    net._net = SimpleNamespace(get_feat=lambda picture: np.full((1, 512), picture.shape[0]))
    vector = net.embed(
        np.zeros((40, 40, 3), np.uint8), np.random.default_rng(0).normal(size=(468, 3))
    )
    assert (vector.shape, vector.dtype) == ((512,), np.float32)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_missing_files_are_one_sentence_with_the_licence_in_the_registry(tmp_path):
    with pytest.raises(InputError, match=r"scrfd_10g.*insightface/det_10g\.onnx"):
        InsightFaces(Store((tmp_path,)))
    for name in (insight.DETECTOR, insight.RECOGNISER):
        assert "research only" in REGISTRY[name].licence
        assert REGISTRY[name].origin == "file"


def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "locate", lambda self, name: tmp_path / name)
    monkeypatch.setitem(sys.modules, "insightface", None)
    monkeypatch.setitem(sys.modules, "insightface.model_zoo", None)
    with pytest.raises(InputError, match=r"pip install --no-deps insightface.*faces=mesh"):
        open_model(Store((tmp_path,)), insight.DETECTOR)
