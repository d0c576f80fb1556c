from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.clip import Clip
from core.testing import talking_frame
from preprocessing.steps.filters import Length, OneFace, PoseLimits, Sharpness, sharpness
from preprocessing.steps.frames import Frames

COUNT = 20


@pytest.fixture
def clip():
    pairs = [talking_frame(i) for i in range(COUNT)]
    fields = {
        "frames": Frames("x", (0, 0.8), COUNT, tuple(f for f, _ in pairs)),
        "mesh": np.stack([m for _, m in pairs]),
        "found": np.ones(COUNT, bool),
    }
    return Clip("x", "x", fields=fields, facts={"faces": 1})


def why(clip):
    return clip.drop.step, clip.drop.reason, clip.drop.value, clip.drop.threshold


def test_defaults_let_everything_pass(clip):
    for step in (OneFace(1), PoseLimits(), Length(0.8), Sharpness()):
        (clip,) = step([clip])
        assert clip.drop is None, step


def test_a_second_face_rejects(clip):
    (out,) = OneFace(1)([clip.noting(faces=2)])
    assert why(out) == ("one_face", "more than one face", 2, 1)
    (kept,) = OneFace(2)([clip.noting(faces=2)])
    assert kept.drop is None


def turned(mesh, axis, degrees):
    """A mesh (468, 3) turned about an axis: 0 pitches, 1 yaws, 2 rolls."""
    angle = np.zeros(3)
    angle[axis] = np.radians(degrees)
    middle = mesh.mean(0)
    return ((mesh - middle) @ cv2.Rodrigues(angle)[0].T + middle).astype(np.float32)


@pytest.mark.parametrize(("axis", "name"), [(0, "pitch"), (1, "yaw"), (2, "roll")])
def test_a_turned_head_rejects_by_its_axis(clip, axis, name):
    mesh = np.stack([turned(m, axis, 35) for m in clip.fields["mesh"]])
    (out,) = PoseLimits(25, 25, 25)([clip.having(mesh=mesh)])
    step, reason, value, limit = why(out)
    assert (step, reason, limit) == ("pose_limits", f"{name} beyond the limit", 25)
    assert value == pytest.approx(35, abs=3)
    (kept,) = PoseLimits(**{name: 45.0})([clip.having(mesh=mesh)])
    assert kept.drop is None
    assert kept.facts[f"{name}_wide"] == value


def test_one_glance_aside_loses_no_clip(clip):
    mesh = clip.fields["mesh"].copy()
    mesh[:2] = [turned(m, 1, 50) for m in mesh[:2]]
    (kept,) = PoseLimits(yaw=25)([clip.having(mesh=mesh)])
    assert kept.drop is None


def test_a_short_segment_rejects(clip):
    (out,) = Length(1.0)([clip])
    assert why(out) == ("length", "segment too short", 0.8, 1.0)


def test_blur_rejects_and_size_and_light_do_not(clip):
    frame, mesh = talking_frame(0, 640, 480)
    sharp = sharpness(frame, mesh)
    assert sharpness(cv2.GaussianBlur(frame, (0, 0), 6), mesh) < sharp / 5
    assert sharpness((frame * 0.5).astype(np.uint8), mesh) == pytest.approx(sharp, rel=0.1)
    larger = cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert sharpness(larger, mesh * 2) == pytest.approx(sharp, rel=0.3)
    blurred = tuple(cv2.GaussianBlur(f, (0, 0), 6) for f in clip.fields["frames"])
    (kept,) = Sharpness(0.0)([clip])
    limit = kept.facts["sharpness"] / 2
    soft = clip.having(frames=Frames("x", (0, 0.8), COUNT, blurred))
    (out,) = Sharpness(limit)([soft])
    assert why(out)[:2] == ("sharpness", "blurred")
    assert out.drop.value < limit == out.drop.threshold
    (still,) = Sharpness(limit)([clip])
    assert still.drop is None
