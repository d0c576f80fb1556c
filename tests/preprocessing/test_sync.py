"""The sound moves to where the lips are, and everything made from it moves along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.clip import Clip
from core.media.audio import decode_flac
from core.weights import Store
from models.experts.speech import load_speech
from models.experts.sync import distance_matrix
from preprocessing.steps.frames import Frames
from preprocessing.steps.speech import Speech
from preprocessing.steps.sync import Sync, delayed

COUNT, BEFORE = 60, 30
LOUD = np.random.default_rng(3).uniform(0, 1, COUNT + 2 * BEFORE + 40).repeat(640)
VOICE = (LOUD * np.random.default_rng(4).normal(size=len(LOUD)) * 0.2).astype(np.float32)


class FakeExpert:
    """Compares each frame's brightness with how loud the sound is: a net that is always right."""

    name = "fake"

    def distances(self, frames, mesh, sound):
        light = np.array([frame.mean() / 255 for frame in frames])
        level = np.sqrt((sound.reshape(-1, 640) ** 2).mean(1)) / 0.2
        assert len(light) == len(level) == len(mesh)
        return 10 * distance_matrix(light[:, None], level[:, None])


def expert(store):
    """What a recipe may name."""
    return FakeExpert()


def _clip(early):
    """Lips in step with VOICE, heard ``early`` frames too early."""
    loud = LOUD[::640][BEFORE : BEFORE + COUNT]
    pictures = tuple(np.full((4, 4, 3), round(255 * v), np.uint8) for v in loud)
    moved = delayed(VOICE, -early * 640)
    return Clip(
        "x",
        "x.mp4",
        facts={"has_sound": True},
        fields={
            "frames": Frames("x", (0, COUNT / 25), COUNT, pictures),
            "mesh": np.zeros((COUNT, 468, 3), np.float32),
            "landmarks": np.zeros((COUNT, 468, 3), np.float32),
            "sound_around": {"sound": moved, "offset": BEFORE},
        },
    )


def _run(clip, **changes):
    step = replace(
        Sync("tests.preprocessing.test_sync:expert", Store(()), confidence=1.0), **changes
    )
    step.setup()
    (found,) = step([clip])
    return found


@pytest.mark.parametrize("early", [-6, -2, 0, 3, 6])
def test_moved_sound_is_found_and_put_back(early):
    given = _clip(early)
    found = _run(given)
    assert found.drop is None
    assert found.facts["sync_offset"] == early
    assert _run(found).facts["sync_offset"] == 0
    speech = Speech("log-mel", Store(()))
    speech.setup()
    before, after = (next(iter(speech([c]))).fields for c in (given, found))
    own = slice(BEFORE * 640, (BEFORE + COUNT) * 640)
    np.testing.assert_allclose(decode_flac(after["sound"])[0], VOICE[own], atol=1e-4)
    truth = load_speech("log-mel", Store(())).features(VOICE, BEFORE + COUNT)[BEFORE:]
    np.testing.assert_allclose(after["speech"].astype(np.float32), truth, atol=5e-3)
    assert (before["sound"] == after["sound"]) == (early == 0)
    assert np.array_equal(before["speech"], after["speech"]) == (early == 0)


@pytest.mark.parametrize("early", [-9, 7])
def test_too_far_off_is_rejected_with_its_numbers(early):
    drop = _run(_clip(early)).drop
    assert drop is not None
    assert (drop.kind, drop.reason) == ("rejected", "sound too far off the lips")
    assert (drop.value, drop.threshold) == (abs(early), 6)


def test_another_voice_is_rejected_with_its_confidence():
    given = _clip(0)
    other = np.random.default_rng(9).permutation(VOICE.reshape(-1, 640)).ravel()
    clip = given.having(sound_around={"sound": other, "offset": BEFORE})
    drop = _run(clip).drop
    assert drop is not None
    assert drop.reason == "lips and sound don't fit together"
    assert drop.value is not None
    assert drop.value < drop.threshold == 1.0


def test_no_expert_and_no_sound_pass_untouched():
    step = Sync("syncnet_v2", Store(()))
    assert step.origin() == {"sync": "skipped: no weights of syncnet_v2"}
    step.setup()
    given = _clip(4)
    assert list(step([given])) == [given]
    silent = given.noting(has_sound=False)
    assert _run(silent) == silent


def test_sound_that_starts_late_is_silent_before():
    assert delayed(np.arange(3.0), 2).tolist() == [0, 0, 0, 1, 2]
    assert delayed(np.arange(3.0), -2).tolist() == [2]
