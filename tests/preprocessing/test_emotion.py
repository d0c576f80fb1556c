from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.clip import Clip
from core.errors import InputError
from core.media.audio import encode_flac
from core.sample import decode_field, encode_field
from core.weights import Store
from models.experts.emotion import SpeechEmotion
from preprocessing.steps.emotion import Emotion
from tests.models import tiny

SOUND = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.emotion(tmp_path_factory.mktemp("weights") / "voice")


def _run(step, sound=SOUND):
    step.setup()
    (clip,) = step([Clip("x", "x.mp4", fields={"sound": encode_flac(sound)})])
    return clip


def test_a_segment_gets_a_distribution_and_its_name(folder):
    step = Emotion("voice", Store((folder.parent,)))
    clip = _run(step)
    found = clip.fields["emotion"]
    assert found.shape == (7,)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert clip.facts["emotion"] in step.origin()["emotion"]
    assert step.origin()["emotion"].startswith("voice@")
    assert np.array_equal(decode_field("emotion", encode_field("emotion", found)), found)
    assert np.array_equal(_run(step).fields["emotion"], found)
    other = _run(step, np.sin(np.arange(16000) * 0.05).astype(np.float32) * 0.3)
    assert not np.array_equal(other.fields["emotion"], found)


def test_a_missing_model_is_skipped_by_name():
    step = Emotion("nobody", Store(()))
    assert step.origin() == {"emotion": "skipped: no model folder nobody"}
    assert "emotion" not in _run(step).fields


def test_the_older_head_is_the_same_sum(folder, tmp_path):
    """Dense, tanh, output on the mean hidden state, computed here by hand."""
    from transformers import Wav2Vec2Model

    torch.manual_seed(0)
    head = {"dense.weight": torch.randn(16, 16), "dense.bias": torch.randn(16)}
    head |= {"output.weight": torch.randn(7, 16), "output.bias": torch.randn(7)}
    full = load_file(folder / "model.safetensors")
    tensors = {k: v for k, v in full.items() if not k.startswith(("projector", "classifier"))}
    tensors |= {f"classifier.{k}": v for k, v in head.items()}
    old = tmp_path / "old"
    old.mkdir()
    save_file(tensors, old / "model.safetensors", {"format": "pt"})
    (old / "config.json").write_text((folder / "config.json").read_text())
    found = SpeechEmotion(str(old), Store(())).probabilities(SOUND)
    body = Wav2Vec2Model.from_pretrained(folder).eval()
    given = (SOUND - SOUND.mean()) / SOUND.std()
    with torch.inference_mode():
        hidden = body(torch.from_numpy(given)[None]).last_hidden_state.mean(1)
        dense = torch.tanh(hidden @ head["dense.weight"].T + head["dense.bias"])
        logits = dense @ head["output.weight"].T + head["output.bias"]
    np.testing.assert_allclose(found, torch.softmax(logits, -1)[0].numpy(), atol=1e-5)


def test_a_model_of_another_kind_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="lacks classifier"):
        SpeechEmotion(str(tiny.wav2vec2(tmp_path / "no_head", num_labels=7)), Store(()))
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    two = tmp_path / "two"
    two.mkdir()
    (two / "config.json").write_text(json.dumps(config))
    (two / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="tells 2 classes apart"):
        SpeechEmotion(str(two), Store(()))
