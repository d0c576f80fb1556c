from __future__ import annotations

import errno
import os
from fractions import Fraction
from unittest.mock import Mock

import numpy as np
import pytest

from core.errors import DiskFull, InputError
from core.media.audio import read_sound
from core.media.video import (
    VideoWriter,
    decode_mp4,
    encode_mp4,
    probe,
    read_frames,
    read_frames_at,
)
from tests.preprocessing import odd_files

NTSC = Fraction(30000, 1001)


def picture(index, width=96, height=64):
    y, x = np.mgrid[:height, :width]
    flat = np.full_like(x, 20 + 4 * index)
    return np.stack([x * 255 // width, y * 255 // height, flat], -1).astype(np.uint8)


def write(path, frames=12, fps=Fraction(25), size=(96, 64), **options):
    with VideoWriter(path, *size, fps, **options) as video:
        for index in range(frames):
            video.write(picture(index, *size))
    return path


@pytest.mark.parametrize("size", [(96, 64), (97, 65), (1280, 720)])
def test_frames_come_back_in_number_size_rate_and_colour(tmp_path, size):
    path = write(tmp_path / "a.mp4", 6, NTSC, size)
    info = probe(path)
    assert (info.width, info.height, info.fps, info.frames) == (*size, NTSC, 6)
    assert not info.has_sound
    back = list(read_frames(path))
    assert len(back) == 6
    for index, (time, frame) in enumerate(back):
        assert time == pytest.approx(index * 1001 / 30000, abs=1e-4)
        error = np.abs(frame.astype(int) - picture(index, *size)).mean()
        assert error < 4, "colours drift: the matrix written is not the matrix read"


def test_sound_is_aligned_with_the_picture(tmp_path):
    sound = np.zeros(20_000, np.float32)
    sound[4800:4900] = 0.8
    path = write(tmp_path / "a.mp4", 12, sound=sound)
    assert probe(path).has_sound
    back = read_sound(path)
    assert 4750 < np.argmax(np.abs(back)) < 4950
    assert 0.48 <= len(back) / 16_000 < 0.48 + 0.08  # cut to the picture, but for AAC's last block


def test_short_sound_is_padded_and_tags_are_kept(tmp_path):
    import av

    path = write(tmp_path / "a.mp4", 25, sound=np.ones(100, np.float32), metadata={"comment": "x"})
    assert len(read_sound(path)) >= 16_000
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "x"


def test_nothing_half_written_under_the_final_name(tmp_path):
    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", 96, 64, Fraction(25)) as video:
            video.write(picture(0))
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_very_end_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    writer = VideoWriter(path, 96, 64, NTSC)
    writer.__enter__()
    writer.write(picture(0))
    writer._container = Mock(wraps=writer._container)
    writer._container.close.side_effect = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(DiskFull, match="make room"):
        writer.__exit__(None, None, None)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_span_holds_the_same_frames_as_the_whole(tmp_path):
    path = write(tmp_path / "a.mp4", 60)
    whole = [frame for _, frame in read_frames(path)]
    span = list(read_frames(path, 1.6, 2.0))
    assert [round(time * 25) for time, _ in span] == list(range(40, 50))
    assert all((frame == whole[40 + k]).all() for k, (_, frame) in enumerate(span))


@pytest.mark.parametrize("keys", [250, 30])
def test_a_span_of_a_broadcast_stream_is_found_without_an_index(tmp_path, keys):
    """Seeking lands between two key frames there; what follows is nothing up to the next."""
    path = odd_files.write(tmp_path / "a.ts", odd_files.even(4), keys=keys, sound=False)
    whole = list(read_frames(path))
    assert len(whole) == 100
    for first, end in ((26, 30), (50, 55), (59, 61), (85, 90), (97, 100)):
        span = list(read_frames(path, first / 25, end / 25))
        assert [round(time * 25) for time, _ in span] == list(range(first, end))
        pairs = zip(span, whole[first:end], strict=True)
        assert all((ours == theirs).all() for (_, ours), (_, theirs) in pairs)


def test_a_length_that_the_file_does_not_tell_is_counted(tmp_path):
    import av

    path = odd_files.write(
        tmp_path / "a.webm", odd_files.even(0.8), **odd_files.WEBM, live=True, sound=False
    )
    with av.open(str(path)) as container:
        assert not container.duration, "the file tells its length"
    assert probe(path).duration_s == pytest.approx(0.8, abs=0.01)


def test_constant_rate_keeps_matching_frames_and_resamples_others(tmp_path):
    same = write(tmp_path / "a.mp4", 10)
    pairs = zip(read_frames(same), read_frames_at(same, 25), strict=True)
    assert all((a == b).all() for (_, a), (_, b) in pairs)
    half = list(read_frames_at(write(tmp_path / "b.mp4", 20, Fraction(50)), 25))
    assert [round(time, 3) for time, _ in half] == [round(k / 25, 3) for k in range(10)]
    assert len(list(read_frames_at(write(tmp_path / "c.mp4", 30, NTSC), 25))) == 25
    assert len(list(read_frames_at(same, 25, (0.08, 0.24)))) == 4


def test_rotation_is_applied(tmp_path):
    path = write(tmp_path / "a.mp4", 3)
    straight = next(read_frames(path))[1]
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    for place, value in zip(range(9), [0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30], strict=True):
        data[matrix + 4 * place : matrix + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    info = probe(path)
    assert (info.width, info.height) == (64, 96)
    assert info.rotation in (90, 270)
    turned = next(read_frames(path))[1]
    assert (turned == np.rot90(straight, -1)).all()  # the file asks for 90 degrees clockwise


def test_truncation_is_an_error_once_the_end_is_reached(tmp_path):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "a.mp4", 96, 64, Fraction(25)) as video:
        for _ in range(50):
            video.write(rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    data = (tmp_path / "a.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 6 // 10])
    assert probe(cut).frames == 50
    with pytest.raises(InputError, match=r"cut\.mp4 .*cut off"):
        list(read_frames(cut))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n#EXTINF:1,\na.mp4\n", "playlist"),
        (b"\xef\xbb\xbf #EXTM3U\n", "playlist"),
        (b"ffconcat version 1.0\nfile a.mp4\n", "playlist"),
        (b'<?xml version="1.0"?><MPD></MPD>', "playlist"),
        (b"file 'a.mp4'\n", "can't read"),
        (b"just words " * 200, "can't read"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path, data, said):
    write(tmp_path / "a.mp4", 3)
    path = tmp_path / "bad.mp4"
    path.write_bytes(data)
    for read in (probe, read_sound, lambda p: list(read_frames(p))):
        with pytest.raises(InputError, match=said) as caught:
            read(path)
        assert "bad.mp4" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_file_folder_and_missing_picture(tmp_path):
    import soundfile

    with pytest.raises(InputError, match="not a file"):
        probe(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="not a file"):
        probe(tmp_path)
    soundfile.write(tmp_path / "s.wav", np.zeros(1600), 16_000)
    with pytest.raises(InputError, match="no video track"):
        probe(tmp_path / "s.wav")
    with pytest.raises(InputError, match="no sound track"):
        read_sound(write(tmp_path / "a.mp4", 3))


def test_mp4_bytes_are_deterministic_and_come_back():
    frames = np.stack([picture(index) for index in range(5)])
    data = encode_mp4(frames)
    assert data == encode_mp4(frames)
    assert np.abs(decode_mp4(data).astype(int) - frames).mean() < 3
    with pytest.raises(InputError):
        decode_mp4(data[:100])


def test_real_clips_open(clips):
    for path in sorted([*clips.glob("*.mp4"), *clips.glob("*.mpg")]):
        info = probe(path)
        frames = list(read_frames_at(path, 25, (0.0, 0.4)))
        assert len(frames) == 10, path.name
        assert frames[0][1].shape == (info.height, info.width, 3)
