"""Every odd file is a row with a reason, the run goes on, and the files stay as they were."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from core.errors import InputError
from core.media import container
from core.media import video as video_
from core.media.video import probe, tally
from core.shards import read_samples
from core.testing import playlist, truncated
from preprocessing import inputs, ledger
from preprocessing.datasets.folder import clips as folder_clips
from preprocessing.run import preprocess
from tests.preprocessing.odd_files import KINDS, even, write


def rows(out: Path) -> dict[str, dict]:
    return {row["source"]: row for row in ledger.read(out / ledger.LEDGER)}


def tree(root: Path) -> dict[str, tuple]:
    """Every name below a folder: kind, bytes, time of change."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        bytes_ = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(bytes_).hexdigest()
        found[str(path.relative_to(root))] = (status.st_mode, digest, status.st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    raw = tmp_path_factory.mktemp("odd") / "raw"
    for name, make in KINDS.items():
        make(raw / name)
    whole = write(raw / "whole.mp4", even(2.0), (160, 120))
    truncated(whole, raw / "cut, index first.mp4", 0.5)  # no index: it lay at the end
    truncated(write(raw / "whole.mkv", even(2.4)), raw / "cut.mkv", 0.5)
    truncated(write(raw / "whole.ts", even(2.2)), raw / "cut.ts", 0.6)
    (raw / "loop.mp4").symlink_to(raw / "loop.mp4")
    os.mkfifo(raw / "pipe.mp4")
    return raw


def test_every_kind_of_file_is_a_row(odd, tmp_path, cheap):
    before = tree(odd)
    preprocess("folder", odd, tmp_path / "out", cheap)
    assert tree(odd) == before, "inputs are only read"
    found = rows(tmp_path / "out")
    assert set(found) == set(before)
    got = {n: (r["outcome"], r["step"], r["frames"]) for n, r in found.items()}
    cut_ts = got.pop("cut.ts")  # a broadcast stream promises nothing: what is there is whole
    assert cut_ts[0] == "ok"
    assert 25 < cut_ts[2] < 40
    assert got == {
        "sound only.mp4": ("failed", "probe", 0),
        "picture only.mp4": ("rejected", "read", 0),
        "ten bit.mp4": ("ok", "", 30),
        "turned.mp4": ("ok", "", 30),
        "1 fps.mp4": ("ok", "", 100),
        "240 fps.mp4": ("ok", "", 30),
        "variable.mp4": ("ok", "", 75),
        "variable.mkv": ("ok", "", 60),
        "4K.mp4": ("ok", "", 30),
        "0.2 s.mp4": ("rejected", "probe", 0),
        "old.mpg": ("ok", "", 30),
        "stream.ts": ("ok", "", 35),
        "whole.mp4": ("ok", "", 50),
        "whole.mkv": ("ok", "", 60),
        "whole.ts": ("ok", "", 55),
        "cut, index first.mp4": ("failed", "probe", 0),
        "cut.mkv": ("rejected", "probe", 0),
        "loop.mp4": ("failed", "discover", 0),
        "pipe.mp4": ("failed", "discover", 0),
    }
    for name, row in found.items():
        assert (row["outcome"] == "ok") == (row["reason"] == ""), name
    assert "no video track" in found["sound only.mp4"]["reason"]
    assert found["cut.mkv"]["reason"] == "fewer frames than promised"
    facts = json.loads(found["turned.mp4"]["facts"])
    assert (facts["width"], facts["height"]) == (48, 80)


def test_a_download_that_broke_off_tells_both_counts(tmp_path, video, cheap):
    whole = video(tmp_path / "raw" / "whole.mp4", seconds=3.0)
    truncated(whole, tmp_path / "raw" / "cut.mp4", 0.6)
    preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    row = rows(tmp_path / "out")["cut.mp4"]
    assert (row["outcome"], row["step"]) == ("rejected", "probe")
    assert row["reason"] == "fewer frames than promised"
    assert row["threshold"] == 75
    assert 20 < row["value"] < 70
    assert tally(whole).frames == 75
    assert tally(whole).picture_s == pytest.approx(3.0, abs=1e-3)


def test_a_file_that_promises_years_costs_no_more_than_it_holds(tmp_path, video, cheap):
    data = bytearray(video(tmp_path / "raw" / "v.mp4").read_bytes())
    at = data.index(b"stts")  # name, version, number of entries, then frames and their length each
    assert struct.unpack_from(">II", data, at + 8) == (1, 30)
    struct.pack_into(">I", data, at + 16, 0x00FFFFFF)
    struct.pack_into(">I", data, data.index(b"mdhd") + 20, 0x7FFFFFFF)  # the length of the track
    data[:] = data.replace(b"edts", b"free")  # edit lists, which would still tell the truth
    (tmp_path / "raw" / "years.mp4").write_bytes(data)
    assert probe(tmp_path / "raw" / "years.mp4").duration_s > 1e4
    preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    row = rows(tmp_path / "out")["years.mp4"]
    assert 1 < row["segments"] <= 30, "ten seconds a frame, ten seconds a segment"


def test_a_slow_video_is_cut_where_its_frames_are_nearest(tmp_path):
    path = write(tmp_path / "slow.mp4", even(4, 1), fps=1)
    for span in ((1.0, 2.4), (0.0, 2.4), (2.6, 4.0)):
        found = list(video_.read_frames_at(path, 25, span))
        assert len(found) == round((span[1] - span[0]) * 25)
    wanted = [frame for _, frame in video_.read_frames(path)]
    times = [t for t, _ in video_.read_frames_at(path, 25, (1.0, 2.4))]
    for time, frame in video_.read_frames_at(path, 25, (1.0, 2.4)):
        assert (frame == wanted[1 if time < 1.5 else 2]).all(), time
    assert times[-1] == pytest.approx(2.36)


def test_no_permission_is_a_row(tmp_path, video, cheap, monkeypatch):
    """Root may read everything, so the refusal is played where the file is opened."""
    video(tmp_path / "raw" / "good.mp4")
    video(tmp_path / "raw" / "mine.mp4", seed=1)
    true = inputs.content_hash

    def refused(path: Path) -> str:
        if path.name == "mine.mp4":
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(inputs, "content_hash", refused)
    preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    row = rows(tmp_path / "out")["mine.mp4"]
    assert (row["outcome"], row["step"]) == ("failed", "discover")
    assert "can't open mine.mp4: Permission denied" in row["reason"]


def test_a_folder_that_may_not_be_looked_into_is_a_row(tmp_path, video, cheap, monkeypatch):
    video(tmp_path / "raw" / "good.mp4")
    (tmp_path / "raw" / "closed").mkdir()
    true = os.scandir

    def refused(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return true(path)

    monkeypatch.setattr(os, "scandir", refused)
    listed = list(folder_clips(tmp_path / "raw"))
    assert [clip.drop is None for clip in listed] == [False, True]
    preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    row = rows(tmp_path / "out")["closed"]
    assert (row["outcome"], row["step"]) == ("failed", "discover")
    assert "Permission denied" in row["reason"]


IN_OPEN = 0x20


@contextmanager
def watched(path: Path) -> Iterator[list[int]]:
    """Counts how often a file is opened, by whomever: the kernel tells."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK)
    assert handle >= 0, os.strerror(ctypes.get_errno())
    assert libc.inotify_add_watch(handle, os.fsencode(path), IN_OPEN) >= 0
    opens: list[int] = []
    try:
        yield opens
        try:
            data = os.read(handle, 1 << 16)
        except BlockingIOError:
            data = b""
        opens += [1] * (len(data) // 16)
    finally:
        os.close(handle)


@pytest.mark.parametrize("guarded", [True, False], ids=["as it is", "by the library alone"])
def test_a_playlist_opens_nothing_else(tmp_path, video, monkeypatch, guarded):
    """Both walls are tried: the first bytes, and the containers that the library may open."""
    secret = video(tmp_path / "elsewhere" / "secret.mp4")
    with watched(secret) as opens:
        probe(secret)
    assert opens, "the watch sees an opening"
    if not guarded:
        monkeypatch.setattr(container, "PLAYLISTS", (b"\0never",))
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/secret.mp4"
    made = {}
    for kind, target in (("near", str(secret)), ("far", url), ("uri", f"file:{secret}")):
        made[f"list {kind}.mp4"] = playlist(tmp_path / f"list {kind}.mp4", Path(target))
        concat = tmp_path / f"concat {kind}.mp4"
        concat.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
        made[concat.name] = concat
        (tmp_path / f"dash {kind}.mp4").write_text(
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
            f"<AdaptationSet><Representation><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period>"
            "</MPD>"
        )
    with watched(secret) as opens:
        for path in sorted(tmp_path.glob("*.mp4")):
            for look in (probe, tally, lambda p: list(video_.read_frames(p))):
                with pytest.raises(InputError, match=path.name):
                    look(path)
    assert opens == []
    with pytest.raises(BlockingIOError):
        server.accept()
    server.close()


def test_two_faces_none_a_drawn_one_and_one_that_leaves(tmp_path, store):
    """The nets see drawn faces as faces: what they are is a matter of filters, not of reading."""
    import numpy as np

    from core.media.video import VideoWriter
    from core.testing import dummy_frame, dummy_video, talking_frame
    from preprocessing.recipes import flashlips_debug

    raw = tmp_path / "raw"
    raw.mkdir()
    tone = np.sin(np.arange(20_800) / 9).astype(np.float32)

    def show(name, make):
        with VideoWriter(raw / name, 640, 240, Fraction(25), tone, 16_000) as out:
            for i in range(26):
                out.write(make(i))

    face, empty = (lambda i: talking_frame(i, 320, 240)[0]), dummy_frame(0, 320, 240)
    show("two.mp4", lambda i: np.concatenate([face(i), face(i + 9)], 1))
    show("leaves.mp4", lambda i: np.concatenate([face(i) if i < 12 else empty, empty], 1))
    show("none.mp4", lambda i: np.concatenate([empty, empty], 1))
    dummy_video(raw / "drawn.mp4", 1.04, size=(320, 240), face=True)
    preprocess("folder", raw, tmp_path / "out", flashlips_debug(), store=store)
    found = rows(tmp_path / "out")
    got = {n: (r["outcome"], r["step"], r["reason"]) for n, r in found.items()}
    assert got["none.mp4"] == ("rejected", "track", "no face")
    assert got["leaves.mp4"] == ("rejected", "track", "face seen too briefly")
    assert got["drawn.mp4"] == ("ok", "", "")
    assert json.loads(found["two.mp4"]["facts"])["faces"] == 2
    assert got["two.mp4"][0] in ("ok", "rejected")
    assert len(list(read_samples(tmp_path / "out"))) == sum(r["kept"] for r in found.values())
