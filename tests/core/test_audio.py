from __future__ import annotations

import numpy as np
import pytest
import soundfile

from core.errors import InputError
from core.media.audio import (
    Fitted,
    SpooledSound,
    decode_flac,
    encode_flac,
    read_sound,
    silence,
)

RATE = 16_000


def tone(seconds, level=0.3, rate=RATE, pitch=220):
    return (level * np.sin(np.arange(round(seconds * rate)) / rate * 2 * np.pi * pitch)).astype(
        np.float32
    )


def test_flac_comes_back():
    sound = tone(0.5)
    back, rate = decode_flac(encode_flac(sound, RATE))
    assert rate == RATE
    assert np.abs(back - sound).max() < 1e-4
    with pytest.raises(InputError):
        decode_flac(b"no sound")


def test_any_rate_and_channels_become_16k_mono(tmp_path):
    stereo = np.stack([tone(1, rate=44_100), tone(1, rate=44_100)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, 44_100)
    sound = read_sound(tmp_path / "a.wav")
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(RATE, abs=20)
    assert np.corrcoef(sound[100:15_900], tone(1)[100:15_900])[0, 1] > 0.999


def test_silence_finds_the_pause_and_nothing_else():
    rng = np.random.default_rng(0)
    noise = (0.002 * rng.standard_normal(3 * RATE)).astype(np.float32)
    sound = noise.copy()
    sound[:RATE] += tone(1)
    sound[2 * RATE :] += tone(1)
    quiet = silence(sound, RATE, 25, 75)
    assert quiet.shape == (75,)
    assert not quiet[:25].any()
    assert quiet[26:49].all()
    assert not quiet[50:].any()


def test_short_gaps_are_speech_and_missing_sound_is_silence():
    sound = tone(2)
    sound[RATE : RATE + 1600] = 0  # 0.1 s, as in a stop consonant
    quiet = silence(sound, RATE, 25, 75)
    assert not quiet[:50].any()
    assert quiet[51:].all()


def test_all_silent_and_all_speech():
    assert silence(np.zeros(RATE, np.float32), RATE, 25, 25).all()
    assert not silence(tone(1), RATE, 25, 25).any()
    assert silence(np.zeros(0, np.float32), RATE, 25, 0).shape == (0,)


def test_level_of_the_recording_does_not_matter():
    rng = np.random.default_rng(1)
    sound = tone(3) * np.repeat([1, 0, 1], RATE).astype(np.float32)
    sound += 0.003 * rng.standard_normal(3 * RATE).astype(np.float32)
    loud, soft = silence(sound, RATE, 25, 75), silence(sound * 0.2, RATE, 25, 75)
    assert (loud == soft).mean() > 0.97


def test_real_speech_has_some_pauses(clips):
    for path in sorted(clips.glob("LipNet__*.mpg")):
        sound = read_sound(path)
        quiet = silence(sound, RATE, 25, 75)
        assert len(sound) == pytest.approx(3 * RATE, rel=0.02)
        assert 0.15 < quiet.mean() < 0.8, path.name
        assert quiet[:5].mean() > 0.7, "these recordings begin with a pause"


def test_a_long_sound_is_measured_in_blocks():
    sound = np.concatenate([tone(65), np.zeros(RATE * 3, np.float32), tone(5)])
    quiet = silence(SpooledSound([sound]), RATE, 25, 74 * 25)
    assert not quiet[: 65 * 25].any()
    assert quiet[65 * 25 : 68 * 25].all()
    assert not quiet[68 * 25 : 73 * 25].any()
    assert quiet[73 * 25 :].all()


def test_a_sound_fitted_to_a_length():
    sound = np.arange(10, dtype=np.float32)
    longer, shorter = Fitted(sound, 14), Fitted(sound, 4)
    assert (len(longer), len(shorter)) == (14, 4)
    assert longer[8:13].tolist() == [8, 9, 0, 0, 0]
    assert longer[12:99].tolist() == [0, 0]
    assert shorter[2:9].tolist() == [2, 3]
