"""wav2vec 2.0 at the frames' times, on a tiny random model that the test saves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from core.errors import InputError
from core.weights import Store
from models.experts.speech import load_speech
from tests.models.tiny import wav2vec2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    wav2vec2(folder / "tiny")
    return Store((folder,))


@pytest.fixture(scope="module")
def encoder(store):
    return load_speech("wav2vec2:tiny#1,2", store)


def _noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    loud = np.repeat(rng.uniform(0.0, 0.3, int(seconds * 10) + 1), 1600)[: int(seconds * 16000)]
    return (rng.normal(size=len(loud)) * loud).astype(np.float32)


def test_shape_scale_and_determinism(encoder):
    found = encoder.features(_noise(2.0), 50)
    assert found.shape == (50, 32) == (50, encoder.dim)
    assert found.dtype == np.float32
    assert 0.5 < found.std() < 2
    assert np.array_equal(found, encoder.features(_noise(2.0), 50))


def test_layers_lie_side_by_side_in_the_order_asked(encoder, store):
    sound, both = _noise(1.0), encoder.features(_noise(1.0), 25)
    one, two = (load_speech(f"wav2vec2:tiny#{n}", store).features(sound, 25) for n in (1, 2))
    np.testing.assert_array_equal(both, np.concatenate([one, two], 1))
    assert not np.allclose(one, two)


def test_a_sound_lands_in_its_own_frame(tmp_path):
    """Without norms over time, layer 0 is local: a click is felt most in the frame it falls in."""
    folder = wav2vec2(tmp_path / "local", feat_extract_norm="layer", conv_bias=True)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    encoder = load_speech(f"wav2vec2:{folder}#0", Store(()))
    sound = np.random.default_rng(1).normal(size=48000).astype(np.float32) * 0.1
    for frame in (20, 41):
        clicked = sound.copy()
        clicked[frame * 640 + 300 : frame * 640 + 340] += 3.0
        change = np.abs(encoder.features(clicked, 75) - encoder.features(sound, 75)).sum(1)
        assert change.argmax() == frame
        far = np.delete(change, range(frame - 12, frame + 13))  # the positional convolution's reach
        assert far.max() < 0.5 * change.max()


def test_sound_moved_by_seconds_gives_the_same_vectors(encoder):
    sound = _noise(8.0)
    moved = np.concatenate([np.zeros(16000 * 3, np.float32), sound])
    here, there = encoder.features(sound, 200), encoder.features(moved, 275)[75:]
    np.testing.assert_allclose(here, there, atol=1e-4)


def test_there_are_no_seams_between_windows(encoder):
    found = encoder.features(_noise(12.0), 300)
    steps = np.abs(np.diff(found, axis=0)).mean(1)
    at_seams = steps[24::25]
    assert at_seams.mean() < 1.3 * steps.mean()


def test_the_name_says_which_weights_and_is_checked(encoder, store):
    assert encoder.name.startswith("wav2vec2:tiny@")
    again = load_speech(encoder.name, store)
    assert again.name == encoder.name
    sound = _noise(1.0)
    np.testing.assert_array_equal(again.features(sound, 25), encoder.features(sound, 25))
    with pytest.raises(InputError, match="holds tiny@"):
        load_speech("wav2vec2:tiny@00000000#1", store)


def test_it_pickles_and_joins(encoder, store):
    sound = _noise(1.0)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.features(sound, 25), encoder.features(sound, 25))
    assert load_speech("wav2vec2:tiny#2+log-mel", store).features(sound, 25).shape == (25, 336)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nobody#1", "no model folder 'nobody'"), ("tiny", "must end in #LAYERS of 0 to 2"),
     ("tiny#3", "of 0 to 2"), ("tiny#a", "of 0 to 2")],
)  # fmt: skip
def test_what_is_asked_wrongly_is_a_sentence(name, sentence, store):
    with pytest.raises(InputError, match=sentence):
        load_speech(f"wav2vec2:{name}", store)
