"""decord against PyAV, on files made here."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from core.errors import InputError
from core.media.decord_reader import exact, read_frames_decord
from core.media.video import read_frames, read_frames_at
from core.testing import dummy_video

pytest.importorskip("decord")


def same(ours, theirs):
    a, b = list(ours), list(theirs)
    assert [round(t, 4) for t, _ in a] == [round(t, 4) for t, _ in b]
    return all(np.array_equal(x, y) for (_, x), (_, y) in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("size", "fps"), [((160, 120), 25), ((322, 242), Fraction(30000, 1001)), ((1280, 720), 50)]
)
def test_frames_are_bit_identical(tmp_path, size, fps):
    path = dummy_video(tmp_path / "a.mp4", 1.0, Fraction(fps), size, face=True)
    assert exact(path)
    assert same(read_frames(path), read_frames_decord(path))


def test_spans_and_the_25_fps_grid_are_the_same(tmp_path):
    path = dummy_video(tmp_path / "a.mp4", 3.0, Fraction(30000, 1001), face=True)
    for span in ((0.0, 0.5), (0.48, 1.2), (1.7, 9.0)):
        assert same(read_frames(path, *span), read_frames_decord(path, *span)), span
        assert same(
            read_frames_at(path, 25, span), read_frames_at(path, 25, span, read_frames_decord)
        ), span


def _written(path, codec, size=(64, 48), pixels="yuv420p", rate=25):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (size[1] // 16, size[0] // 16, 3), np.uint8)
    picture = blocks.repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, i, 1), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "size", "pixels"),
    [
        ("stream.mpg", "mpeg1video", (64, 48), "yuv420p"),
        ("untagged hd.mp4", "libx264", (1280, 720), "yuv420p"),
        ("full chroma.mp4", "libx264", (64, 48), "yuv444p"),
    ],
)
def test_files_that_decord_reads_otherwise_are_left_to_pyav(tmp_path, name, codec, size, pixels):
    path = _written(tmp_path / name, codec, size, pixels)
    assert not exact(path)
    assert same(read_frames(path, 0.4, 0.9), read_frames_decord(path, 0.4, 0.9))


def test_a_build_without_cuda_says_so(tmp_path):
    path = dummy_video(tmp_path / "a.mp4", 0.2)
    with pytest.raises(InputError, match=r"built with CUDA.*reader=decord"):
        list(read_frames_decord(path, gpu=True))


def test_a_playlist_never_reaches_decord(tmp_path):
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXTINF:2,\nother.mp4\n")
    with pytest.raises(InputError, match="playlist"):
        list(read_frames_decord(tmp_path / "a.mp4"))
