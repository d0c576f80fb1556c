from __future__ import annotations

import numpy as np
import pytest

from core.media.crop import FLASHLIPS_128
from core.testing import KnownFaces, dummy_frame, dummy_mesh
from inference.plan import FADE, pick_references, plan_crops
from inference.tracks import PATIENCE, Patient, Tracks, follow

SIZE = (320, 240)


def tracked(meshes, faces=1):
    frames = [(i / 25, dummy_frame(i, *SIZE)) for i in range(len(meshes))]
    return follow(frames, [KnownFaces(lambda i: meshes[i], faces)])[0]


def facts(opening, sharpness=None, yaw=None):
    count = len(opening)
    ones = np.ones(count)
    return Tracks(
        times_s=np.arange(count) / 25,
        found=ones.astype(bool),
        landmarks=np.zeros((count, 468, 3), np.float32),
        sharpness=ones if sharpness is None else np.asarray(sharpness),
        opening=np.asarray(opening),
        yaw=0 * ones if yaw is None else np.asarray(yaw),
        start=np.arange(count) == 0,
        faces=1,
    )


def test_references_are_spread_sharp_and_one_is_closed():
    opening = np.full(100, 0.1)
    opening[33:36] = 0.0
    sharpness = np.full(100, 0.5)
    sharpness[[7, 60, 90]] = 1.0
    sharpness[34] = 0.6
    picked = pick_references(facts(opening, sharpness), np.ones(100, bool), 4)
    assert picked == (7, 34, 60, 90)


def test_references_come_from_usable_frames_and_repeat_when_few():
    usable = np.zeros(50, bool)
    usable[[10, 20]] = True
    picked = pick_references(facts(np.full(50, 0.05)), usable, 4)
    assert set(picked) == {10, 20}
    assert len(picked) == 4


def test_references_avoid_turned_heads():
    yaw = np.full(40, 50.0)
    yaw[[3, 13, 23, 33]] = 0
    picked = pick_references(facts(np.full(40, 0.05), yaw=yaw), np.ones(40, bool), 4)
    assert picked == (3, 13, 23, 33)


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (dummy_mesh((160, 90), 120), ""),
        (None, "no face found"),
        (dummy_mesh((160, 90), 20), "face too small"),
        (dummy_mesh((160, 215), 120), "face cut off by the picture's edge"),
    ],
)
def test_reasons(mesh, reason):
    good = dummy_mesh((160, 90), 120)
    plan = plan_crops(tracked([good, good, mesh, good]), FLASHLIPS_128, SIZE, 2)
    assert plan.reasons[2] == reason
    assert (plan.weight[2] == 0) == bool(reason)


def test_turned_heads_are_left_alone():
    turned = dummy_mesh((160, 90), 120)
    middle = turned[168].copy()
    angle = np.radians(75)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    turned = ((turned - middle) @ turn.T + middle).astype(np.float32)
    plan = plan_crops(tracked([turned, dummy_mesh((160, 90), 120)]), FLASHLIPS_128, SIZE, 1)
    assert plan.reasons[0] == "face turned away"
    assert plan.references == (1,)


def test_a_cut_starts_a_new_run_and_is_not_smoothed_over():
    left, right = dummy_mesh((80, 90), 100), dummy_mesh((240, 90), 100)
    tracks = tracked([left] * 10 + [right] * 10)
    assert list(np.flatnonzero(tracks.start)) == [0, 10]
    plan = plan_crops(tracks, FLASHLIPS_128, SIZE, 2)
    assert np.allclose(plan.transforms[9], plan.transforms[0], atol=1e-3)
    assert np.allclose(plan.transforms[10], plan.transforms[19], atol=1e-3)


def test_blocks_of_a_long_run_fit_as_one(monkeypatch):
    rng = np.random.default_rng(0)
    places = rng.normal((160, 90), 2, (60, 2))
    meshes = [dummy_mesh((x, y), 100) for x, y in places]
    tracks = tracked(meshes)
    whole = FLASHLIPS_128.fit(tracks.landmarks, tracks.found)
    monkeypatch.setattr("inference.plan.BLOCK", 16)
    plan = plan_crops(tracks, FLASHLIPS_128, SIZE, 2)
    assert np.allclose(plan.transforms, whole, atol=1e-4)


def test_weights_fade_beside_gaps_only():
    good = dummy_mesh((160, 90), 120)
    plan = plan_crops(tracked([good] * 10 + [None] + [good] * 10), FLASHLIPS_128, SIZE, 1)
    steps = np.arange(1, FADE + 1) / (FADE + 1)
    assert np.allclose(plan.weight[11 : 11 + FADE], steps)
    assert np.allclose(plan.weight[10 - FADE : 10], steps[::-1])
    assert plan.weight[10] == 0
    assert (plan.weight[[0, 1, 5, 19, 20]] == 1).all()


def test_tracks_count_faces_and_measure():
    meshes = [dummy_mesh((160, 90), 120, opening=0.004 * i) for i in range(20)]
    tracks = tracked(meshes, faces=3)
    assert tracks.faces == 3
    assert np.all(np.diff(tracks.opening) > 0)
    assert (tracks.sharpness > 0).all()


def test_patience_searches_a_long_gap_now_and_then():
    searched = []

    class Blind(KnownFaces):
        def track(self, frame):
            searched.append(int(frame))
            return None if frame < 40 else super().track(frame)

    patient = Patient(Blind(lambda index: dummy_mesh((160, 90), 120)))
    found = [patient.track(np.array(i)) is not None for i in range(60)]
    assert searched[:6] == [0, 1, 2, 3, 4, 5]
    assert len([i for i in searched if i < 40]) < 15
    assert not any(found[:40])
    assert found.index(True) < 40 + PATIENCE
    assert all(found[40 + PATIENCE :])


def test_meshes_on_disk_are_read_as_an_array_is():
    import tempfile

    from inference.tracks import Meshes

    whole = np.random.default_rng(0).random((9, 468, 3)).astype(np.float32)
    with tempfile.TemporaryFile() as file:
        file.write(whole.tobytes())
        file.flush()
        found = Meshes(file, 9)
        assert len(found) == 9
        for key in (
            4, -1, slice(2, 5), slice(9, 12), np.array([1, 4, 6]), (3, [33, 263], slice(2)),
            (slice(1, 4), [33, 263], slice(2)),
        ):  # fmt: skip
            assert np.array_equal(found[key], whole[key]), key
