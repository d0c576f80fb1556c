"""Speech encoders: aligned to frames, independent of windows, any length."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from core.errors import InputError
from core.media.audio import SpooledSound
from core.weights import Store
from models.experts import speech
from models.experts.speech import load_speech, log_mel, mel_filters

RATE = speech.RATE


def _talk(seconds: float, seed: int = 0) -> np.ndarray:
    """Something speech-like: a pulse train through moving resonances, with pauses."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    slow = np.interp(
        t, np.arange(0, seconds + 1, 0.12), rng.random(len(np.arange(0, seconds + 1, 0.12)))
    )
    phase = np.cumsum(110 + 40 * slow) / RATE
    buzz = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 25))
    tone = np.sin(2 * np.pi * np.cumsum(500 + 1500 * slow[::-1]) / RATE)
    return (0.05 * buzz * (1 + tone) * (slow > 0.3)).astype(np.float32)


@pytest.fixture(scope="module")
def whisper():
    from tests.conftest import REPO

    found = Store((REPO / "weights",))
    if not found.has("whisper_tiny_en"):
        pytest.skip("whisper_tiny_en is not in weights/: run 'flashlips weights fetch'")
    return load_speech("whisper-tiny.en", found)


def _near(a: np.ndarray, b: np.ndarray) -> float:
    """Error of ``a`` against ``b`` over the spread of ``b`` in time."""
    return float(np.sqrt(((a - b) ** 2).mean() / (b - b.mean(0)).var()))


def test_the_mel_is_whispers():
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80)
    np.testing.assert_allclose(mel_filters(), extractor.mel_filters, atol=1e-9)
    sound = _talk(3.0)
    theirs = extractor(sound, sampling_rate=RATE, return_tensors="np").input_features[0].T
    ours = log_mel(sound, 0, 300)
    # Whisper cuts 80 dB below the window's loudest band, we below a constant; above both, equal.
    floor = max(theirs.min(), ours.min()) + 1e-3
    inside = slice(2, 298)  # it mirrors the ends, we pad with silence
    np.testing.assert_allclose(
        np.maximum(ours, floor)[inside], np.maximum(theirs[:300], floor)[inside], atol=2e-4
    )


def test_log_mel_moves_with_the_sound():
    encoder = load_speech("log-mel", Store(()))
    sound = _talk(4.0)
    later = np.concatenate([np.zeros(RATE, np.float32), sound])
    a, b = encoder.features(sound, 100), encoder.features(later, 125)
    assert a.shape == (100, encoder.dim) == (100, 320)
    np.testing.assert_allclose(b[25:125], a, atol=1e-6)


def test_whisper_moves_with_the_sound(whisper):
    sound = _talk(4.0)
    a = whisper.features(sound, 100)
    assert a.shape == (100, whisper.dim) == (100, 768)
    assert a.dtype == np.float32
    later = np.concatenate([np.zeros(RATE, np.float32), sound])
    np.testing.assert_allclose(whisper.features(later, 125)[25:], a, atol=1e-3)  # 1 s, 25 frames

    # By a time off the grid of windows: nearest at the right lag, though not equal.
    lag = 9
    later = np.concatenate([np.zeros(lag * 640, np.float32), sound])
    b = whisper.features(later, 120)
    errors = [_near(b[k : k + 95], a[:95]) for k in range(lag - 4, lag + 5)]
    assert int(np.argmin(errors)) == 4, errors


def test_no_glitch_where_windows_meet(whisper):
    sound = _talk(8.0)
    whole = whisper.features(sound, 200)
    np.testing.assert_array_equal(whole, whisper.features(sound, 200))
    jumps = np.linalg.norm(np.diff(whole, axis=0), axis=1)
    seams = [i * 25 + 12 + d for i in range(1, 7) for d in (-1, 0, 1)]  # where windows come and go
    assert np.median(jumps[seams]) < 1.5 * np.median(jumps)


def test_sound_on_disk_streams_second_by_second(whisper):
    sound = _talk(3.3)
    sound[100] = np.nan
    spooled = SpooledSound([sound[:5000], sound[5000:]])
    for encoder in (whisper, load_speech("log-mel", Store(()))):
        blocks = list(encoder.stream(spooled, 83))
        assert [len(b) for b in blocks] == [25, 25, 25, 8]
        np.testing.assert_array_equal(np.concatenate(blocks), encoder.features(sound, 83))
        assert np.isfinite(blocks[0]).all()


def test_window_weights_add_up_to_one():
    total = np.zeros(1000)
    for first in range(0, 2000 - speech.WINDOW, speech.STEP):
        total[first // 2 : (first + speech.WINDOW) // 2] += speech.fade()
    np.testing.assert_allclose(total[speech.LEAD // 2 : -speech.WINDOW // 2 - 50], 1.0, atol=1e-5)


def test_what_is_far_away_changes_nothing(whisper):
    sound = _talk(9.0)
    other = sound.copy()
    other[-RATE:] = _talk(1.0, seed=9)
    a, b = whisper.features(sound, 225), whisper.features(other, 225)
    np.testing.assert_array_equal(a[:62], b[:62])  # more than 5.5 s before the change
    assert not np.array_equal(a[-20:], b[-20:])


def test_joined_encoders_lie_side_by_side(whisper):
    both = load_speech("log-mel+whisper-tiny.en", Store((whisper.folder.parent,)))
    assert (both.name, both.dim) == ("log-mel+whisper-tiny.en", 1088)
    sound = _talk(1.0)
    np.testing.assert_array_equal(both.features(sound, 20)[:, 320:], whisper.features(sound, 20))


@pytest.mark.parametrize(("samples", "frames"), [(0, 3), (100, 1), (1600, 40), (64000, 0)])
def test_short_empty_and_missing_sound(whisper, samples, frames):
    for encoder in (whisper, load_speech("log-mel", Store(()))):
        found = encoder.features(_talk(5.0)[:samples], frames)
        assert found.shape == (frames, encoder.dim)
        assert np.isfinite(found).all()


def test_the_scale_is_about_one(whisper):
    for encoder in (whisper, load_speech("log-mel", Store(()))):
        assert 0.5 < encoder.features(_talk(3.0), 75).std() < 2.0


def test_it_pickles(whisper):
    sound = _talk(1.0)
    copy = pickle.loads(pickle.dumps(whisper))
    np.testing.assert_array_equal(copy.features(sound, 25), whisper.features(sound, 25))


def test_bad_names_and_missing_weights_are_sentences(tmp_path):
    with pytest.raises(InputError, match="there are whisper"):
        load_speech("wav2vec9", Store(()))
    with pytest.raises(InputError, match="flashlips weights fetch"):
        load_speech("whisper-tiny.en", Store((tmp_path,)))
