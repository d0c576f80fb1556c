"""OUT keeps VIDEO's clock and tracks, and AUDIO's packets; a part of VIDEO, longer sound."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from core.contracts import PredictorSpec
from core.errors import InputError
from core.media import encoders
from core.media.encoders import ENCODERS, Encoder
from core.media.video import VideoWriter, probe, read_frames
from core.testing import DummyPredictor, dummy_sound, dummy_video
from core.weights import Store
from inference.footage import Footage, Span
from inference.job import Coding
from inference.sync import sync

WHOLE = PredictorSpec(None, 25.0, 8, 2, 2, "frame")
FPS = Fraction(25)


def plain(views, call):
    return views


def edited(video, audio, out, **more):
    return sync(video, audio, out, DummyPredictor(WHOLE, plain), Store(()), **more)


def packets(path, kind, index=0):
    """Hash of each packet's bytes of a stream, and its time."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[index]
        return [
            (hashlib.sha256(bytes(p)).hexdigest(), round(float(p.pts * p.time_base), 4))
            for p in container.demux(stream)
            if p.size
        ]


def numbered(path, times, size=(96, 64)):
    """A video whose frames are grey by number, shown at ``times``."""
    with VideoWriter(path, *size, FPS, crf=4) as out:
        for index, time in enumerate(times):
            out.write(np.full((size[1], size[0], 3), 20 + 5 * index, np.uint8), time)
    return path


def greys(path):
    return [round((float(np.mean(f)) - 20) / 5) for _, f in read_frames(path)]


@pytest.fixture
def uneven(tmp_path):
    """Frames at times that no constant rate has."""
    times = np.cumsum([0, 40, 33, 90, 21, 40, 120, 17, 40, 60]) / 1000
    writer = VideoWriter(tmp_path / "uneven.mp4", 96, 64, FPS, crf=4)
    writer.time_base = Fraction(1, 1000)
    with writer as out:
        for index, time in enumerate(times):
            out.write(np.full((64, 96, 3), 20 + 5 * index, np.uint8), float(time))
    return tmp_path / "uneven.mp4"


def test_every_frame_keeps_its_time(uneven, tmp_path):
    audio = dummy_sound(tmp_path / "new.wav", 0.5)
    for video in (uneven, dummy_video(tmp_path / "ntsc.mp4", 0.8, Fraction(30_000, 1001))):
        report = edited(video, audio, tmp_path / "out.mp4")
        was, now = ([t for t, _ in read_frames(p)] for p in (video, tmp_path / "out.mp4"))
        assert report.frames == len(was) == len(now)
        assert np.allclose(was, now, atol=1e-6)
    assert probe(tmp_path / "out.mp4").fps == Fraction(30_000, 1001)
    assert [round(t * 1000) for t, _ in read_frames(uneven)][3] == 163


def test_sound_that_mp4_holds_is_copied_and_other_sound_keeps_its_channels(tmp_path):
    video = dummy_video(tmp_path / "in.mp4", 0.8, sound=False)
    spoken = dummy_video(tmp_path / "spoken.mp4", 0.8)  # AAC beside a picture
    edited(video, spoken, tmp_path / "copied.mp4")
    theirs, ours = packets(spoken, "audio"), packets(tmp_path / "copied.mp4", "audio")
    assert ours == theirs[: len(ours)]
    assert len(ours) >= len(theirs) - 2
    tone = 0.3 * np.sin(np.arange(44_100) * 0.06)
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone, 0 * tone], 1), 44_100)
    edited(video, tmp_path / "stereo.wav", tmp_path / "stereo.mp4")
    with av.open(str(tmp_path / "stereo.mp4")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.layout.name) == (
            "aac", 44_100, "stereo",
        )  # fmt: skip
        heard = np.concatenate([f.to_ndarray() for f in container.decode(stream)], 1)
    assert np.abs(heard[0, 4000:30_000]).mean() > 0.1
    assert np.abs(heard[1, 4000:30_000]).mean() < 0.01
    assert heard.shape[1] / 44_100 == pytest.approx(0.8, abs=0.06)


def sound(path, codec, rate, layout, kind):
    """A tone of two seconds by some codec."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        channels, size = len(stream.layout.channels), stream.codec_context.frame_size or 1024
        tone = np.tile(0.3 * np.sin(np.arange(2 * rate) * 2000 / rate), (channels, 1))
        tone = (tone * 32_767).astype(np.int16) if kind == "s16" else tone.astype(np.float32)
        for start in range(0, 2 * rate, size):
            piece = tone[:, start : start + size]
            piece = piece if kind == "fltp" else piece.T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), kind, layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "given", "found"), [
    ("five.wav", ("pcm_s16le", 48_000, "5.1", "s16"), ("aac", 48_000, 6)),
    ("phone.wav", ("pcm_s16le", 8_000, "mono", "s16"), ("aac", 8_000, 1)),
    ("studio.flac", ("flac", 96_000, "stereo", "s16"), ("aac", 48_000, 2)),
    ("song.mp3", ("libmp3lame", 44_100, "stereo", "fltp"), ("mp3", 44_100, 2)),
    ("web.webm", ("libopus", 48_000, "stereo", "flt"), ("opus", 48_000, 2)),
    ("film.mp4", ("ac3", 48_000, "5.1", "fltp"), ("ac3", 48_000, 6)),
])  # fmt: skip
def test_sound_of_many_kinds(name, given, found, tmp_path):
    video = dummy_video(tmp_path / "in.mp4", 1.0, sound=False)
    edited(video, sound(tmp_path / name, *given), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        assert (codec, stream.rate, stream.layout.nb_channels) == found
        assert float(stream.duration * stream.time_base) == pytest.approx(1.0, abs=0.06)
        heard = np.concatenate([f.to_ndarray().reshape(-1) for f in container.decode(stream)])
    peak = np.abs(heard.astype(float)).max() / (32_768 if heard.dtype == np.int16 else 1)
    assert 0.1 < peak < 0.6


@pytest.fixture
def tracks(tmp_path):
    """A video with two sound tracks, a subtitle, and one track that mp4 does not hold."""
    path, plain_video = tmp_path / "tracks.mkv", dummy_video(tmp_path / "plain.mp4", 1.0)
    with av.open(str(plain_video)) as source, av.open(str(path), "w") as out:
        streams = [out.add_stream_from_template(s) for s in source.streams]
        second = out.add_stream_from_template(source.streams.audio[0])
        pcm = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for packet in source.demux():
            if packet.dts is None:
                continue
            is_sound = packet.stream.type == "audio"
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
            if is_sound:
                packet.stream = second
                out.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        out.mux(pcm.encode(frame))
    return path


def test_further_tracks_are_kept_and_those_that_are_not_are_named(tracks, tmp_path):
    report = edited(tracks, dummy_sound(tmp_path / "new.wav", 1.0), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video", "audio", "audio"]
    kept = [digest for digest, _ in packets(tmp_path / "out.mp4", "audio", 1)]
    assert kept
    assert kept == [digest for digest, _ in packets(tracks, "audio", 1)][: len(kept)]
    assert any("audio track (pcm_s16le)" in note for note in report.notes)


def test_a_part_of_the_video(tmp_path):
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(30)])
    audio = dummy_sound(tmp_path / "new.wav", 2.0)
    report = edited(video, audio, tmp_path / "out.mp4", span=Span(0.4, 0.8))
    assert greys(tmp_path / "out.mp4") == list(range(10, 20))
    assert next(read_frames(tmp_path / "out.mp4"))[0] == 0
    assert report.duration_s == pytest.approx(0.4)
    for span in (Span(3.0), Span(0.8, 0.4)):
        with pytest.raises(InputError, match=r"hold nothing of .*in\.mp4, which is 1\.20 s long"):
            edited(video, audio, tmp_path / "o.mp4", span=span)


@pytest.mark.parametrize(("extend", "shown"), [
    ("loop", [*range(8), *range(8), *range(4)]),
    ("pingpong", [*range(8), *reversed(range(8)), *range(4)]),
    ("freeze", [*range(8), *[7] * 12]),
])  # fmt: skip
def test_sound_that_is_longer_than_the_video(extend, shown, tmp_path):
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(8)])
    audio = dummy_sound(tmp_path / "new.wav", 0.8)
    edited(video, audio, tmp_path / "out.mp4", span=Span(length="audio", extend=extend))
    assert greys(tmp_path / "out.mp4") == shown
    times = [t for t, _ in read_frames(tmp_path / "out.mp4")]
    assert np.allclose(times, np.arange(20) / 25, atol=2e-4)
    edited(video, audio, tmp_path / "short.mp4", span=Span(length="shortest", extend=extend))
    assert len(greys(tmp_path / "short.mp4")) == 8


def test_sound_that_is_shorter_may_end_the_video(tmp_path):
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(30)])
    audio = dummy_sound(tmp_path / "new.wav", 0.4)
    for length, count in (("video", 30), ("audio", 10), ("shortest", 10)):
        edited(video, audio, tmp_path / "out.mp4", span=Span(length=length))
        assert len(greys(tmp_path / "out.mp4")) == count, length


def test_going_backwards_gives_every_frame_once(tmp_path):
    """Longer than the stretch that is held at once, and not a multiple of it."""
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(37)])
    footage = Footage(probe(video), length_s=3.0)
    shown = [round((float(np.mean(f)) - 20) / 5) for _, f in footage]
    assert shown == [*range(37), *reversed(range(37)), 0]
    assert (np.asarray(footage.frame_at(1.48))[0, 0, 0] - 20) // 5 == 36


def test_a_preview_shows_three_seconds_before_and_after(tmp_path):
    video = dummy_video(tmp_path / "in.mp4", 4.0)
    dark = DummyPredictor(WHOLE, lambda views, call: views // 2)
    audio = dummy_sound(tmp_path / "new.wav", 4.0)
    sync(video, audio, tmp_path / "out.mp4", dark, Store(()), span=Span(0.4, preview=True))
    shown = [f for _, f in read_frames(tmp_path / "out.mp4")]
    assert (len(shown), shown[0].shape) == (75, (120, 320, 3))
    was = next(f for t, f in read_frames(video, 0.4))
    assert np.abs(shown[0][:, :160].astype(int) - was).mean() < 3
    assert np.abs(shown[0][:, 160:].astype(int) - was // 2).mean() < 3


@pytest.mark.parametrize("colours", [(1, 1, 1), (5, 6, 5), (6, 6, 6), (2, 2, 2), (9, 14, 9)])
@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_colours_are_encoded_and_tagged_as_before(colours, size, tmp_path):
    writer = VideoWriter(tmp_path / "in.mp4", *size, FPS, crf=4)
    writer.colours = colours
    frame = np.full((size[1], size[0], 3), (200, 60, 90), np.uint8)
    with writer as out:
        for _ in range(3):
            out.write(frame)
    assert probe(tmp_path / "in.mp4").colours == colours
    read = next(read_frames(tmp_path / "in.mp4"))[1]
    assert np.abs(read.astype(int) - frame).max() <= 4
    edited(tmp_path / "in.mp4", dummy_sound(tmp_path / "new.wav", 0.2), tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").colours == colours
    with av.open(str(tmp_path / "in.mp4")) as was, av.open(str(tmp_path / "out.mp4")) as now:
        a, b = (next(c.decode(video=0)).to_ndarray().astype(int) for c in (was, now))
    assert np.abs(a - b).max() <= 4, "what a player that knows no tags would show"


def test_pixels_that_are_not_square_stay_so(tmp_path):
    writer = VideoWriter(tmp_path / "in.mp4", 96, 64, FPS, crf=4)
    writer.pixel_aspect = Fraction(16, 11)
    with writer as out:
        for _ in range(3):
            out.write(np.full((64, 96, 3), 90, np.uint8))
    edited(tmp_path / "in.mp4", dummy_sound(tmp_path / "new.wav", 0.2), tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").pixel_aspect == Fraction(16, 11)


@pytest.mark.parametrize(("asked", "codec"), [("x264", "h264"), ("x265", "hevc")])
def test_encoders_that_are_asked_for_are_used(asked, codec, tmp_path):
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(8)])
    audio = dummy_sound(tmp_path / "new.wav", 0.4)
    report = edited(video, audio, tmp_path / "out.mp4", coding=Coding(20, asked, "ultrafast"))
    assert report.encoder == asked
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
    assert greys(tmp_path / "out.mp4") == list(range(8))


def test_a_card_is_used_where_there_is_one(monkeypatch, tmp_path):
    working = Encoder("mpeg4", lambda crf, preset, threads: {"qscale": "2"}, card=True)
    broken = Encoder("h264_none", lambda crf, preset, threads: {}, card=True)
    monkeypatch.setattr(encoders, "ENCODERS", {"x264": ENCODERS["x264"], "broken": broken})
    assert encoders.encoder("hardware", (96, 64))[0] == "x264"
    with pytest.raises(InputError, match=r"encoder broken does not work here .*; use x264"):
        encoders.encoder("broken", (96, 64))
    monkeypatch.setitem(encoders.ENCODERS, "card", working)
    assert encoders.encoder("hardware", (97, 64))[0] == "x264", "odd sizes are not for cards"
    with pytest.raises(InputError, match="takes no odd size 97 x 64"):
        encoders.encoder("card", (97, 64))
    video = numbered(tmp_path / "in.mp4", [i / 25 for i in range(8)])
    audio = dummy_sound(tmp_path / "new.wav", 0.4)
    report = edited(video, audio, tmp_path / "out.mp4", coding=Coding(encoder="hardware"))
    assert report.encoder == "card"


@pytest.mark.parametrize(("coding", "said"), [
    (Coding(encoder="vhs"), "no encoder 'vhs'; use x264, x265"),
    (Coding(preset="warp"), "no preset 'warp'; use one of swift, ultrafast"),
])  # fmt: skip
def test_encoders_that_do_not_exist_are_one_sentence(coding, said, tmp_path):
    video = numbered(tmp_path / "in.mp4", [0.0, 0.04])
    audio = dummy_sound(tmp_path / "new.wav", 0.4)
    with pytest.raises(InputError, match=said):
        edited(video, audio, tmp_path / "out.mp4", coding=coding)
    assert not (tmp_path / "out.mp4").exists()
