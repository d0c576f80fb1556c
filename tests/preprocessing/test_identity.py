from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.clip import Clip
from core.media.crop import CropSpec, warp, warp_points
from core.media.video import read_frames
from core.weights import Store
from models.experts.face import FaceMesh
from preprocessing.steps.identity import Identify


@pytest.fixture(scope="module")
def people(clips, store):
    """Two segments of one person and one of another, cropped."""
    net = FaceMesh(store)

    def segment(name, start):
        frames = [f for _, f in itertools.islice(read_frames(clips / name), start, start + 8)]
        net.reset()
        mesh = np.stack([net.track(frame).landmarks for frame in frames])
        transforms = CropSpec(size=128).fit(mesh, np.ones(8, bool))
        pairs = list(zip(frames, mesh, transforms, strict=True))
        crops = np.stack([warp(f, t, 128) for f, _, t in pairs])
        points = np.stack([warp_points(m, t) for _, m, t in pairs])
        return Clip("x", "x", fields={"crop": crops, "landmarks": points})

    one, other = "LipNet__bbaf2n.mpg", "EDTalk__uncrop_Obama.mp4"
    return segment(one, 0), segment(one, 50), segment(other, 0)


def test_one_person_is_near_and_another_far(people, store):
    if not store.has("mobilefacenet"):
        pytest.skip("mobilefacenet.onnx is in no weights folder")
    step = Identify("mobilefacenet", store)
    step.setup()
    found = list(step(people))
    vectors = np.stack([clip.fields["identity"] for clip in found])
    assert (vectors.shape, vectors.dtype) == ((3, 128), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    same, different = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert same > 0.7 > 0.5 > different
    assert found[0].facts["identity_spread"] > 0.9
    assert step.origin() == {"identity": "mobilefacenet"}


@pytest.mark.parametrize("net", ["mobilefacenet", "arcface"])
def test_without_weights_clips_pass_and_the_manifest_says_so(tmp_path, net):
    step = Identify(net, Store((tmp_path,)))
    step.setup()
    clip = Clip(
        "x", "x", fields={"crop": np.zeros((1, 8, 8, 3)), "landmarks": np.zeros((1, 468, 3))}
    )
    (same,) = step([clip])
    assert same is clip
    assert step.origin() == {"identity": "missing"}
