from __future__ import annotations

import numpy as np
import pytest

from core.media import shapes
from core.media.crop import FLASHLIPS_128, warp, warp_points
from core.media.video import read_frames
from models.experts.face import FaceMesh


@pytest.fixture(scope="module")
def net(store):
    return FaceMesh(store)


def first(path, count):
    frames = []
    for _, frame in read_frames(path):
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def test_a_face_is_found_in_every_clip(net, clips):
    for path in sorted([*clips.glob("*.mp4"), *clips.glob("*.mpg")]):
        net.reset()
        for frame in first(path, 3):
            face = net.track(frame)
            assert face is not None, path.name
            assert face.landmarks.shape == (468, 3)
            assert face.landmarks.dtype == np.float32
            assert face.score > 0.5
            x0, y0, x1, y1 = face.box
            assert 40 < x1 - x0 < frame.shape[1]
            assert 40 < y1 - y0 < frame.shape[0]
            eyes, mouth = face.landmarks[[33, 263], 1].mean(), face.landmarks[13, 1]
            assert eyes < mouth


def test_nothing_is_found_in_noise_or_in_grey(net):
    net.reset()
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    for frame in (noise, np.full((240, 320, 3), 127, np.uint8)):
        assert net.track(frame) is None
        assert net.detect(frame) == []


def test_several_faces_are_counted_and_the_largest_comes_first(net, clips):
    frame = first(clips / "LipNet__lbax4n.mpg", 1)[0]
    small = frame[::2, ::2]
    both = np.zeros((frame.shape[0], frame.shape[1] + small.shape[1], 3), np.uint8)
    both[:, : frame.shape[1]] = frame
    both[: small.shape[0], frame.shape[1] :] = small
    faces = net.detect(both)
    assert len(faces) == 2
    assert faces[0].box[2] < frame.shape[1] < faces[1].box[0]
    assert len(net.detect(frame)) == 1


def test_a_small_face_in_a_wide_shot(net, clips):
    frame = first(clips / "LipNet__lbbc2a.mpg", 1)[0]
    wide = np.full((1080, 1920, 3), 90, np.uint8)
    wide[40 : 40 + frame.shape[0] // 2, 1200 : 1200 + frame.shape[1] // 2] = frame[::2, ::2]
    faces = net.detect(wide)
    assert len(faces) == 1
    assert 1200 < faces[0].box[0] < faces[0].box[2] < 1200 + frame.shape[1] // 2


def test_tracking_is_a_function_of_the_frames_and_follows_cuts(net, clips):
    here, there = (
        first(clips / "LipNet__lbbc2a.mpg", 2),
        first(clips / "EDTalk__uncrop_Obama.mp4", 2),
    )
    runs = []
    for _ in range(2):
        net.reset()
        runs.append([net.track(frame) for frame in here + there])
    for one, two in zip(*runs, strict=True):
        assert (one.landmarks == two.landmarks).all()
    net.reset()
    fresh = net.track(there[0])
    assert np.abs(runs[0][2].landmarks - fresh.landmarks)[:, :2].max() < 6


def test_the_detector_is_asked_now_and_then_and_at_every_cut(store, clips, monkeypatch):
    net, asked = FaceMesh(store), []
    confirmed = net._confirmed
    monkeypatch.setattr(net, "_confirmed", lambda *a: asked.append(at) or confirmed(*a))
    here, there = first(clips / "LipNet__lbbc2a.mpg", 14), first(clips / "LipNet__lwbsza.mpg", 3)
    for at, frame in enumerate([*here, *there]):  # noqa: B007 - the lambda hears it
        assert net.track(frame) is not None
    assert asked[:4] == [1, 6, 11, 14]  # 0 was detected; 14 is the first after the cut


def test_the_fast_path_on_a_crop_agrees_with_tracking(net, clips):
    frames = first(clips / "SadTalker__WDA_AlexandriaOcasioCortez_000.mp4", 24)
    net.reset()
    mesh = np.stack([net.track(frame).landmarks for frame in frames])
    transforms = FLASHLIPS_128.fit(mesh, np.ones(len(mesh), bool))
    want = np.stack([warp_points(p, t) for p, t in zip(mesh, transforms, strict=True)])
    crops = [warp(frame, t, 128) for frame, t in zip(frames, transforms, strict=True)]
    got = np.stack([net.mesh_crop(crop) for crop in crops])
    assert np.abs(got - want)[..., :2].mean() < 1.0
    assert np.corrcoef(shapes.opening(got), shapes.opening(want))[0, 1] > 0.9
    assert net.mesh_crop(np.zeros((128, 128, 3), np.uint8)) is None
