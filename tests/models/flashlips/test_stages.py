"""The four stages on a toy person: they learn, they chain, the result loads and edits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.checkpoint import read_card
from core.contracts import PredictorSpec
from core.errors import InputError
from core.shards import read_samples
from core.weights import Store
from inference.engine import Clock, edit_frames
from inference.plan import plan_frames
from models.backends.eager import Eager
from models.flashlips.bundle import Edit, FlashLips
from models.flashlips.lips_change import LipsChange
from models.flashlips.predictor import FlashLipsSession, Line, close_when_silent
from training.recipes.flashlips import NANO_NET, nano_audio_to_lips


@pytest.mark.parametrize("stage", ["reconstruction", "distillation", "audio_to_lips"])
def test_stages_beat_their_copy_baselines_on_held_out_time(system, stage):
    metrics = read_card(system / stage).metrics
    assert metrics["held_out.error"] < metrics["held_out.copy_error"], metrics


def test_cards_say_what_the_weights_are(system, origin):
    card = read_card(system / "lips_change")
    assert card.codec == origin["codec"]
    assert card.crop == "flashlips@128"
    assert set(card.parents) == {"reconstruction"}
    assert any("VGG" in note for note in card.notes)


def test_pseudo_pairs_change_the_lips_and_nothing_else(system, shards, origin):
    objective = LipsChange(
        NANO_NET, {"reconstruction": read_card(system / "reconstruction")}, origin, Store(())
    )
    samples = list(read_samples(shards))
    rows = {}
    for field in ("crop", "mask", "lips_mask", "expression", "latent_source", "latent_masked"):
        for suffix, t in (("", 3), ("_reference", 20), ("_other", 9)):
            rows[field + suffix] = torch.from_numpy(
                np.stack([np.asarray(s[field][t]) for s in samples])
            )
            if field.startswith("latent"):
                rows[field + suffix] = rows[field + suffix].float()
    pair = objective.pairs(rows, torch.Generator().manual_seed(0))
    change = (pair["changed"] - rows["latent_source"]).abs().sum(1)
    outside = torch.nn.functional.adaptive_avg_pool2d(rows["mask"][:, None].float(), 16)[:, 0] == 0
    assert outside.any()
    assert change[outside].max() == 0
    assert change[~outside].mean() > 0.01


def test_the_system_edits_without_a_mask(system, shards, monkeypatch):
    import core.media.shapes as shapes

    def refuse(*args, **kwargs):
        raise AssertionError("a mask was asked for")

    for name in ("lower_face_mask", "lips_mask"):
        monkeypatch.setattr(shapes, name, refuse)
    lips_system = FlashLips(system, Store(()))
    sample = next(read_samples(shards))
    crops = sample["crop"][:5]
    vectors = lips_system.image_lips(crops)
    lips = Line([vectors], len(vectors))
    reference = lips_system.editor.reference(lips_system.encode(crops[:1]))
    net = Eager(Edit(lips_system.editor, lips_system.codec))
    session = FlashLipsSession(net, reference, lips)
    edited = session.edit(crops, np.arange(5) / 25)
    assert edited.shape == crops.shape
    assert edited.dtype == np.uint8
    z, z_ref = lips_system.encode(crops), lips_system.encode(crops[:1])
    painted = lips_system.decode(lips_system.paint(lips_system.editor, z, z_ref, vectors))
    assert np.array_equal(edited, painted), "one net or its parts"


def test_windows_give_what_one_pass_over_the_clip_gives(system, shards):
    """Pictures window by window and speech as it comes, against everything at once."""
    lips_system = FlashLips(system, Store(()))
    sample = next(read_samples(shards))
    crops = np.concatenate([sample["crop"]] * 9)[:130]
    speech = np.random.default_rng(0).normal(size=(130, 1088)).astype(np.float32)
    references = lips_system.image_lips(crops[:4])
    net = Eager(Edit(lips_system.editor, lips_system.codec))
    reference = lips_system.editor.reference(lips_system.encode(crops[:1]))
    times = np.arange(130) / 25

    def edited(blocks, window):
        line = Line(lips_system.speaking(blocks, references), 130)
        session = FlashLipsSession(net, reference, line)
        spec = PredictorSpec(None, 25.0, window, 0, 1, "frame")
        plan = plan_frames(times, 1)
        frames = zip(times, crops, strict=True)
        return np.stack([f for _, f in edit_frames(frames, plan, session, spec, Clock())])

    whole = edited([speech], 130)
    pieces = edited(np.array_split(speech, 9), 16)
    assert np.abs(whole.astype(int) - pieces).mean() < 0.01
    assert np.abs(whole.astype(int) - crops).mean() > 1, "the edit does something"


def test_lips_are_looked_up_by_time(system):
    line = Line(torch.arange(10.0)[:, None].repeat(1, 12).split(3), 10)
    at = line.at(np.array([0.0, 0.04, 0.06, 9.0]))[:, 0]
    assert at.tolist() == pytest.approx([0, 1, 1.5, 9], abs=1e-4)


def test_lips_are_made_when_asked_for_and_let_go_of_later():
    made = []

    def blocks():
        for first in range(0, 1000, 50):
            made.append(first)
            yield torch.arange(first, first + 50.0)[:, None].repeat(1, 12)

    line = Line(blocks(), 1000)
    assert line.at(np.array([0.5 / 25]))[0, 0] == 0.5
    assert made == [0]
    seen = torch.cat([line.at(np.arange(i, i + 16) / 25)[:, 0] for i in range(0, 990, 10)])
    assert seen[:16].tolist() == list(range(16))
    assert seen[-16:].tolist() == list(range(980, 996))
    with pytest.raises(AssertionError, match="forward"):
        line.at(np.array([0.0]))


def test_speech_of_any_length_gives_as_many_vectors(system):
    lips_system = FlashLips(system, Store(()))
    references = torch.randn(4, 12)
    for frames in (1, 49, 50, 51, 130):
        speech = np.random.default_rng(0).normal(size=(frames, 1088)).astype(np.float32)
        lips = lips_system.speak(speech, references)
        assert lips.shape == (frames, 12)
        assert torch.equal(lips, lips_system.speak(speech, references))
        blocks = np.array_split(speech, max(1, frames // 25))
        assert torch.equal(torch.cat(list(lips_system.speaking(blocks, references))), lips)
    noisy = lips_system.speak(speech, references, temperature=1.0, seed=1)
    assert not torch.equal(noisy, lips)


def test_the_mouth_closes_in_silence():
    lips, closed = torch.ones(40, 12), torch.zeros(12)
    silent = np.zeros(40, bool)
    silent[15:30] = True
    out = torch.cat(list(close_when_silent(lips.split(9), silent, closed)))[:, 0]
    assert out[22] == 0
    assert out[2] == 1
    assert 0 < out[15] < 1


def test_another_codec_or_speech_encoder_is_one_sentence(system, shards, origin):
    from models.flashlips.audio_to_lips import AudioToLips
    from models.flashlips.reconstruction import Reconstruction

    with pytest.raises(InputError, match="preprocess again"):
        Reconstruction(NANO_NET, {}, {**origin, "codec": "slim@0"}, Store(()))
    with pytest.raises(InputError, match=r"net.latent"):
        Reconstruction({**NANO_NET, "latent": 4}, {}, origin, Store(()))
    with pytest.raises(InputError, match="speech_encoder"):
        AudioToLips(
            NANO_NET, {"reconstruction": read_card(system / "reconstruction")},
            {**origin, "speech": "log-mel"}, Store(()),
        )  # fmt: skip
    with pytest.raises(InputError, match="lacks the stage"):
        FlashLips(system / "reconstruction", Store(()))


def test_a_stage_whose_parent_is_missing_says_so(shards, tmp_path):
    from training.job import train_here

    with pytest.raises(InputError, match="train reconstruction first"):
        train_here(replace(nano_audio_to_lips(), steps=2), shards, {}, tmp_path, Store(()))
