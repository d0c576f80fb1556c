from __future__ import annotations

import os
import shutil

import pytest

from core.errors import InputError
from core.shards import read_samples
from preprocessing import ledger
from preprocessing.datasets.folder import clips as folder_clips
from preprocessing.recipes import flashlips_debug
from preprocessing.run import preprocess


def test_every_bad_file_is_a_row_and_the_run_goes_on(tmp_path, video, cheap):
    raw = tmp_path / "raw"
    good = video(raw / "a good.mp4")
    shutil.copy(good, raw / "twin.mp4")
    video(raw / "mute.mp4", sound=False, seed=1)
    video(raw / "short.mp4", seconds=0.2, seed=2)
    video(raw / "bug.mp4", seed=3)
    video(raw / 'näme "q"\nline.mp4', seed=4)
    (raw / "empty.mp4").write_bytes(b"")
    (raw / "text.mp4").write_text("hello")
    data = good.read_bytes()
    (raw / "cut.mp4").write_bytes(data[: len(data) // 3])
    (raw / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{good}\n")
    (raw / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{good}'\n")
    preprocess("folder", raw, tmp_path / "out", cheap)
    found = {row["source"]: row for row in ledger.read(tmp_path / "out" / ledger.LEDGER)}
    assert len(found) == 11
    got = {name: (row["outcome"], row["step"]) for name, row in found.items()}
    assert got == {
        "a good.mp4": ("ok", ""),
        'näme "q"\nline.mp4': ("ok", ""),
        "twin.mp4": ("duplicate", "discover"),
        "mute.mp4": ("rejected", "read"),
        "short.mp4": ("rejected", "probe"),
        "bug.mp4": ("failed", "tile"),
        "empty.mp4": ("failed", "probe"),
        "text.mp4": ("failed", "probe"),
        "cut.mp4": ("rejected", "probe"),
        "list.mp4": ("failed", "probe"),
        "concat.mp4": ("failed", "probe"),
    }
    assert found["twin.mp4"]["reason"] == "a good.mp4"
    assert (found["short.mp4"]["value"], found["short.mp4"]["threshold"]) == (0.2, 1.0)
    assert found["bug.mp4"]["reason"] == "ZeroDivisionError: a bug of ours"
    assert "empty.mp4 is empty" in found["empty.mp4"]["reason"]
    assert len(list(read_samples(tmp_path / "out"))) == 2


def test_silence_is_a_choice_of_the_recipe(tmp_path, video, cheap):
    video(tmp_path / "raw" / "mute.mp4", sound=False)
    with pytest.raises(InputError, match=r"no clip was kept: read: no sound \(1 of 1\)"):
        preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    preprocess("folder", tmp_path / "raw", tmp_path / "ok", cheap, settings=["no_sound=silence"])
    assert len(list(read_samples(tmp_path / "ok"))) == 1
    with pytest.raises(InputError, match="must be reject or silence"):
        preprocess("folder", tmp_path / "raw", tmp_path / "x", cheap, settings=["no_sound=hum"])


def test_folder_ends_on_link_loops_and_takes_each_folder_once(tmp_path, video):
    video(tmp_path / "a" / "one.mp4")
    (tmp_path / "a" / "notes.txt").write_text("no video")
    (tmp_path / "a" / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    found = [os.path.relpath(c.source, tmp_path) for c in folder_clips(tmp_path)]
    assert len(found) == 1
    assert [c.facts["speaker"] for c in folder_clips(tmp_path / "a" / "one.mp4")] == ["one"]


def test_an_unreadable_file_is_a_row(tmp_path, video, cheap):
    video(tmp_path / "raw" / "good.mp4")
    (tmp_path / "raw" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    preprocess("folder", tmp_path / "raw", tmp_path / "out", cheap)
    found = {row["source"]: row for row in ledger.read(tmp_path / "out" / ledger.LEDGER)}
    assert (found["gone.mp4"]["outcome"], found["gone.mp4"]["step"]) == ("failed", "discover")


def test_no_face_is_rejected(tmp_path, video, store):
    video(tmp_path / "raw" / "pattern.mp4", seconds=1.0)
    with pytest.raises(InputError, match="track: no face"):
        preprocess("folder", tmp_path / "raw", tmp_path / "out", flashlips_debug(), store=store)
