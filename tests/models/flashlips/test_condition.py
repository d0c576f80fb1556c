"""What stage 2 is told: emotion, head pose, dropped conditions, guidance by sound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.checkpoint import read_card
from core.errors import InputError
from core.shards import Manifest, read_samples, write_manifest, write_shard
from core.weights import Store
from models.flashlips import predictor
from models.flashlips.audio_to_lips import generate, velocity
from models.flashlips.bundle import FlashLips
from models.flashlips.condition import Condition, fields, heard_by, pose_input
from models.flashlips.parts import build
from training.job import train_here
from training.recipes.flashlips import NANO_NET, nano_audio_to_lips

NET = {
    **NANO_NET,
    "fmt": {**NANO_NET["fmt"], "emotion": 7, "pose": 16, "dim": 32, "depth": 1, "heads": 2},
    "emotion_encoder": "speech-emotion",
}
FEELING = "speech-emotion@00ff11aa:angry,calm"


@pytest.fixture
def fmt():
    """With weights of its own: a fresh one's output is zero."""
    torch.manual_seed(0)
    net = build("fmt", NET)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return net


@pytest.fixture
def told():
    torch.manual_seed(1)
    return Condition(
        torch.randn(2, 60, 1088), torch.randn(2, 48), torch.rand(2, 7), torch.randn(2, 60, 16)
    )


def test_every_condition_is_heard(fmt, told):
    z, t = torch.randn(2, 60, 12), torch.rand(2)
    plain = velocity(fmt, z, t, told)
    for name in ("speech", "references", "emotion", "pose"):
        changed = replace(told, **{name: getattr(told, name) + 1})
        assert not torch.allclose(velocity(fmt, z, t, changed), plain, atol=1e-4), name


def test_conditions_are_dropped_each_for_itself(told):
    draws = iter([[1, 0], [0, 1], [0, 0], [1, 1]])
    left = told.dropped(lambda: torch.tensor(next(draws), dtype=torch.float32))
    assert torch.equal(left.references[0], told.references[0])
    assert not left.references[1].any()
    assert not left.speech[0].any()
    assert torch.equal(left.speech[1], told.speech[1])
    assert not left.emotion.any()
    assert torch.equal(left.pose, told.pose)


def test_guidance_leads_away_from_silence(fmt, told):
    history = torch.zeros(2, 10, 12)
    free, plain, guided = (
        generate(fmt, one, history, 1, guidance=g)
        for one, g in ((told.silent(), 1.0), (told, 1.0), (told, 2.0))
    )
    assert torch.allclose(guided, free + 2 * (plain - free), atol=1e-4)
    assert not torch.allclose(guided, plain, atol=1e-3)


def test_pose_is_in_units_of_45_degrees_and_padded():
    given = pose_input(torch.tensor([[[45.0, -90.0, 0.0]]]), 5)
    assert given.tolist() == [[[1.0, -2.0, 0.0, 0.0, 0.0]]]


def test_the_shards_encoders_are_checked_and_kept_with_their_hash():
    origin = {"speech": "whisper-tiny.en+log-mel", "emotion": FEELING}
    assert heard_by(NET, origin)["emotion_encoder"] == "speech-emotion@00ff11aa"
    exact = {**NET, "emotion_encoder": "speech-emotion@00ff11aa"}
    assert heard_by(exact, origin)["speech_encoder"] == "whisper-tiny.en+log-mel"
    other = {**NET, "emotion_encoder": "speech-emotion@11111111"}
    for net, made in ((other, origin), (NET, {**origin, "emotion": "skipped: no model folder x"})):
        with pytest.raises(InputError, match=r"shards' emotion .* preprocess with that encoder"):
            heard_by(net, made)
    assert fields(NANO_NET) == ()


def test_a_stage_with_emotion_and_pose_trains_and_speaks(system, shards, origin, tmp_path):
    """Samples without the fields are refused before anything starts; with them all works."""
    recipe = replace(nano_audio_to_lips(), net=NET, steps=3, batch=4, held_out_samples=4, warmup=0)
    parents = {"reconstruction": read_card(system / "reconstruction")}
    with pytest.raises(InputError, match="has no emotion"):
        train_here(recipe, shards, parents, tmp_path / "out", Store(()))
    samples = [{**s, "emotion": np.full(7, 1 / 7, np.float32)} for s in read_samples(shards)]
    folder = tmp_path / "felt"
    folder.mkdir()
    file = write_shard(folder / "shard-00000.tar", samples)
    write_manifest(folder, Manifest({**origin, "emotion": FEELING}, [file], {}))
    for stage in ("reconstruction", "distillation", "lips_change"):
        (tmp_path / "system").mkdir(exist_ok=True)
        (tmp_path / "system" / stage).symlink_to(system / stage)
    made = train_here(recipe, folder, parents, tmp_path / "system" / "audio_to_lips", Store(()))
    assert made.net["emotion_encoder"] == "speech-emotion@00ff11aa"
    whole = FlashLips(tmp_path / "system", Store(()))
    speech, references = np.zeros((70, 1088), np.float32), torch.randn(4, 12)
    assert whole.speak(speech, references).shape == (70, 12)
    angry = np.eye(7, dtype=np.float32)[np.zeros(70, int)]
    assert whole.speak(speech, references, angry).shape == (70, 12)


def test_feelings_come_by_segments():
    class Loud:
        heard = 0

        def probabilities(self, sound):
            self.heard += 1
            return np.full(7, sound[0], np.float32)

    sound = np.repeat([0.1, 0.2], 160_000).astype(np.float32)
    loud = Loud()
    felt = predictor.feelings(loud, sound)
    found = np.stack([felt(frame) for frame in range(400)])
    assert found.shape == (400, 7)
    assert np.allclose(found[:250], 0.1)
    assert np.allclose(found[250:], 0.2)
    assert loud.heard == 2, "once a segment"
