"""Videos and sounds as people make them: what comes out is what went in, but for the mouth."""

from __future__ import annotations

import json
import os
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from core.contracts import PredictorSpec
from core.errors import InputError
from core.media.audio import read_sound
from core.media.video import probe, read_frames
from core.testing import DummyPredictor, dummy_frame, dummy_sound, talking_frame
from core.weights import Store
from flows.cli import main
from inference.footage import Span
from inference.report import report_path
from inference.sync import sync
from tests.preprocessing.odd_files import MPEG, WEBM, even, turned, write

SIZE = (160, 120)
TOP, MOUTH = slice(0, 60), slice(60, 90)
"""Rows of a drawn face that no edit reaches, and rows of its mouth."""
WHOLE = PredictorSpec(None, 25.0, 8, 2, 2, "frame")
NTSC = Fraction(30_000, 1001)


def face(index, size):
    return talking_frame(index, *size)[0]


def upright(index, size):
    """A talking frame laid on its side, as a phone's sensor sees one that is held upright."""
    return np.rot90(face(index, size[::-1]))


def change(video, out, rows=slice(None)):
    """(T,) mean difference of each frame, in some rows."""
    pairs = zip(read_frames(video), read_frames(out), strict=True)
    return np.array([np.abs(a[rows].astype(int) - b[rows]).mean() for (_, a), (_, b) in pairs])


def kept(video, audio, out, frames):
    """Checks that OUT has VIDEO's frames, size, rate and clock, and AUDIO; gives its report."""
    was, now, said = probe(video), probe(out), json.loads(report_path(out).read_text())
    before, after = ([t for t, _ in read_frames(path)] for path in (video, out))
    assert len(before) == len(after) == said["frames"] == frames
    assert np.allclose(before, after, atol=1e-3)
    assert (now.width, now.height, now.rotation) == (was.width, was.height, 0)
    assert (said["width"], said["height"]) == (was.width, was.height)
    assert float(now.fps) == pytest.approx(float(was.fps), rel=1e-3)
    assert said["fps"] == pytest.approx(float(was.fps), abs=1e-3)
    length = after[-1] + 1 / float(was.fps)
    assert said["duration_s"] == pytest.approx(length, abs=2e-3)
    given = len(read_sound(audio)) / 16_000
    assert said["sound_s"] == pytest.approx(given, abs=1e-3)
    assert len(read_sound(out)) / 16_000 == pytest.approx(length, abs=0.08)  # AAC's last block
    return said


MADE = {
    "phone": lambda p: turned(
        write(p / "v.mp4", even(0.8, float(NTSC)), SIZE, fps=NTSC, draw=upright), SIZE[1]
    ),
    "browser": lambda p: write(p / "v.webm", even(0.96), SIZE, **WEBM, draw=face, live=True),
    "broadcast": lambda p: write(p / "v.ts", even(2.4), SIZE, draw=face),
    "4K": lambda p: write(p / "v.mp4", even(0.16), (3840, 2160), draw=face),
}


@pytest.mark.parametrize(("kind", "size", "frames"), [
    ("phone", (120, 160), 24), ("browser", SIZE, 24), ("broadcast", SIZE, 60),
    pytest.param("4K", (3840, 2160), 4, marks=pytest.mark.slow),
])  # fmt: skip
def test_everything_but_the_mouth_is_kept(kind, size, frames, store, tmp_path):
    video, audio, out = MADE[kind](tmp_path), tmp_path / "new.wav", tmp_path / "out.mp4"
    dummy_sound(audio, 3.0)
    sync(video, audio, out, DummyPredictor(), store)
    said = kept(video, audio, out, frames)
    assert (said["width"], said["height"]) == size
    assert (said["edited"], said["untouched"], said["faces"]) == (frames, [], 1)
    height = size[1]
    assert change(video, out, slice(0, height // 4)).max() < 2.5, "what encoding costs"
    assert change(video, out, slice(height // 2, height * 3 // 4)).min() > 5


def test_two_seconds_without_a_face_are_left_alone(store, tmp_path):
    """The search for a face rests in such a stretch: the edit may come back a few frames late."""
    video, audio, out = tmp_path / "v.mp4", tmp_path / "new.wav", tmp_path / "out.mp4"
    write(video, even(3.6), SIZE, draw=lambda i, size: (
        dummy_frame(i, *size) if 20 <= i < 70 else face(i, size)
    ))  # fmt: skip
    dummy_sound(audio, 3.6)
    sync(video, audio, out, DummyPredictor(), store)
    said = kept(video, audio, out, 90)
    (run,) = said["untouched"]
    assert (run["first"], run["start_s"], run["reason"]) == (20, 0.8, "no face found")
    assert 69 <= run["last"] <= 73
    assert said["edited"] == 90 - (run["last"] - 19)
    changed = change(video, out, MOUTH)
    back = run["last"] + 1
    assert changed[20:back].max() < 2.5, "what encoding costs"
    assert changed[[*range(17), *range(back + 3, 90)]].min() > 5
    assert changed[20] < changed[19] < changed[18] < changed[17] < changed[16]
    assert changed[back - 1] < changed[back] < changed[back + 1] < changed[back + 2]


@pytest.mark.parametrize(("channels", "rate"), [(1, 48_000), (2, 8_000), (2, 48_000), (6, 8_000)])
def test_sound_keeps_channels_and_rate(channels, rate, tmp_path):
    """Beside the kinds of test_faithful; a wav of six channels that doesn't name them."""
    video = write(tmp_path / "v.mp4", even(1.0), sound=False)
    tone = np.zeros((rate, channels))
    tone[:, 0] = 0.3 * np.sin(np.arange(rate) * 2000 / rate)
    soundfile.write(tmp_path / "new.wav", tone, rate)
    out = tmp_path / "out.mp4"
    sync(video, tmp_path / "new.wav", out, DummyPredictor(WHOLE), Store(()))
    said = kept(video, tmp_path / "new.wav", out, 25)
    assert not [note for note in said["notes"] if "sound" in note]
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.nb_channels) == (rate, channels)
        heard = np.concatenate([f.to_ndarray() for f in container.decode(stream)], 1)
    level = np.sort(np.abs(heard[:, rate // 5 : rate * 4 // 5]).mean(1))
    assert level[-1] > 0.1
    assert (level[:-1] < 0.01).all(), "sound went into another channel"


def longer(options, tmp_path, store, monkeypatch):
    """A face of 0.8 s and a sound of 2.4, by the command line: (video, out, report)."""
    video, audio, out = tmp_path / "v.mp4", tmp_path / "new.wav", tmp_path / "out.mp4"
    write(video, even(0.8), SIZE, draw=face)
    dummy_sound(audio, 2.4, spans=((2.0, 2.2),))
    monkeypatch.setattr("inference.load.load", lambda *_: DummyPredictor())
    monkeypatch.setenv("FLASHLIPS_WEIGHTS", os.pathsep.join(map(str, store.folders)))
    assert main(["sync", str(video), str(audio), "-o", str(out), *options]) == 0
    return video, out, json.loads(report_path(out).read_text())


def test_a_sound_three_times_as_long_is_cut(tmp_path, store, monkeypatch):
    video, out, said = longer([], tmp_path, store, monkeypatch)
    kept(video, tmp_path / "new.wav", out, 20)
    assert any("last 1.60 s of the sound were cut" in note for note in said["notes"])


@pytest.mark.parametrize(("extend", "shown"), [
    ("pingpong", [*range(20), *reversed(range(20)), *range(20)]),
    ("loop", [*range(20)] * 3),
    ("freeze", [*range(20), *[19] * 40]),
])  # fmt: skip
def test_a_face_goes_on_with_a_sound_three_times_as_long(
    extend, shown, tmp_path, store, monkeypatch
):
    options = ["--length", "audio", "--extend", extend]
    video, out, said = longer(options, tmp_path, store, monkeypatch)
    assert (said["frames"], said["edited"], said["untouched"]) == (60, 60, [])
    assert (said["duration_s"], said["sound_s"]) == (2.4, 2.4)
    assert not [note for note in said["notes"] if "sound" in note]
    sound = np.abs(read_sound(out))
    assert len(sound) / 16_000 == pytest.approx(2.4, abs=0.08)
    assert sound[32_500:35_000].mean() > 0.1, "what is said last"
    was, now = ([f.astype(int) for _, f in read_frames(path)] for path in (video, out))
    times = [t for t, _ in read_frames(out)]
    assert np.allclose(times, np.arange(60) / 25, atol=1e-3)
    for index, frame in enumerate(now):
        alike = [np.abs(frame[TOP] - other[TOP]).mean() for other in was]
        assert int(np.argmin(alike)) == shown[index], index
        assert np.abs(frame[MOUTH] - was[shown[index]][MOUTH]).mean() > 5, index


def test_a_silent_sound_is_silent(media, store, tmp_path):
    video, audio, out = media / "talk.mp4", tmp_path / "silent.wav", tmp_path / "out.mp4"
    dummy_sound(audio, 1.6, spans=((0, 0),))
    predictor = DummyPredictor()
    sync(video, audio, out, predictor, store)
    said = kept(video, audio, out, 40)
    assert said["edited"] == 40
    assert not [note for note in said["notes"] if "sound" in note]
    assert np.abs(read_sound(out)).max() < 1e-3, "VIDEO's own tone is still there"


@pytest.mark.parametrize("spec", [WHOLE, DummyPredictor().spec], ids=["frames", "crops"])
@pytest.mark.parametrize(("times", "span", "match"), [
    ([*even(0.4), *(t + 2 for t in even(0.4))], Span(0.8, 1.6), "no readable frame in the part"),
    ([*even(0.4), 40_000.0], Span(), "clock jumps from 0 to 40000 s"),
])  # fmt: skip
def test_damaged_clocks_are_one_sentence(times, span, match, spec, store, tmp_path):
    video = write(tmp_path / "in" / "v.mkv", times, SIZE, sound=False, draw=face)
    audio, out = dummy_sound(tmp_path / "in" / "new.wav", 1.0), tmp_path / "out" / "out.mp4"
    with pytest.raises(InputError, match=match) as caught:
        sync(video, audio, out, DummyPredictor(spec), store, span=span)
    assert str(video) in str(caught.value)
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("spec", [WHOLE, DummyPredictor().spec], ids=["frames", "crops"])
def test_a_picture_that_changes_its_size_is_one_sentence(spec, store, tmp_path):
    """As a call recorded by a browser may, and a stream with an advertisement in it."""
    parts = [
        write(tmp_path / f"{width}.mpg", even(0.4), (width, 120), **MPEG, draw=face)
        for width in (160, 192)
    ]
    video, out = tmp_path / "v.mpg", tmp_path / "out" / "out.mp4"
    video.write_bytes(b"".join(part.read_bytes() for part in parts))
    audio = dummy_sound(tmp_path / "new.wav", 1.0)
    with pytest.raises(InputError, match="changes from 160 x 120 to 192 x 120 pixels at") as caught:
        sync(video, audio, out, DummyPredictor(spec), store)
    assert str(video) in str(caught.value)
    assert not list(out.parent.iterdir())
