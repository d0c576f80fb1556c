from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InputError
from core.shards import read_manifest, read_samples
from preprocessing import ledger
from preprocessing.run import preprocess
from tests.preprocessing.killing import killed_midway

HERE = Path(__file__).parent


def tree(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(p.relative_to(root)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def shards(out: Path) -> dict[str, str]:
    return {s.name: s.sha256 for s in read_manifest(out).shards}


def rows(out: Path) -> dict[str, dict]:
    return {row["source"]: row for row in ledger.read(out / ledger.LEDGER)}


@pytest.fixture
def raw(tmp_path, video):
    for i in range(4):
        video(tmp_path / "raw" / f"clip {i}.mp4", seed=i)
    return tmp_path / "raw"


def test_shards_ledger_summary_and_manifest(raw, tmp_path, cheap):
    told = []
    before = tree(raw)
    manifest = preprocess("folder", raw, tmp_path / "out", cheap, progress=told.append)
    assert manifest == tmp_path / "out" / "manifest.json"
    assert tree(raw) == before
    samples = list(read_samples(tmp_path / "out"))
    assert len(samples) == 4
    assert samples[0]["crop"].shape == (30, 16, 16, 3)
    info = samples[0]["info"]
    assert (info["first_frame"], info["clip_frames"], info["fps"]) == (0, 30, 25)
    assert info["source"] == f"{info['speaker']}.mp4"
    assert {row["outcome"] for row in rows(tmp_path / "out").values()} == {"ok"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["frames"] == 120
    assert summary["outcomes"] == {"ok": 4}
    assert set(summary["seconds"]) == {"probe", "segment", "read", "tile"}
    assert [p.done for p in told] == [0, 1, 2, 3, 4]
    assert told[-1].left_s == 0


def test_long_clips_become_segments_on_one_time_line(tmp_path, video, cheap):
    video(tmp_path / "raw" / "long.mp4", seconds=2.6)
    preprocess("folder", tmp_path / "raw", tmp_path / "out", replace(cheap, segment_s=1.0))
    infos = [s["info"] for s in read_samples(tmp_path / "out")]
    lengths = [len(s["crop"]) for s in read_samples(tmp_path / "out")]
    assert [i["first_frame"] for i in infos] == [0, 21, 43]
    assert lengths == [21, 22, 22]
    assert {i["clip_frames"] for i in infos} == {65}
    assert len({i["clip"] for i in infos}) == 1
    (row,) = rows(tmp_path / "out").values()
    assert (row["segments"], row["kept"], row["frames"]) == (3, 3, 65)


def test_small_shards_hold_the_same_samples(raw, tmp_path, cheap):
    preprocess("folder", raw, tmp_path / "one", cheap)
    preprocess("folder", raw, tmp_path / "many", replace(cheap, shard_mb=0.01))
    assert len(shards(tmp_path / "one")) == 1
    assert len(shards(tmp_path / "many")) == 4
    keys = [[s["key"] for s in read_samples(tmp_path / o)] for o in ("one", "many")]
    assert keys[0] == keys[1]


def test_a_finished_folder_is_recognised_and_new_inputs_cost_only_themselves(
    raw, tmp_path, cheap, video, monkeypatch
):
    calls = tmp_path / "calls"
    monkeypatch.setenv("CHEAP_CALLS", str(calls))
    out = tmp_path / "out"
    preprocess("folder", raw, out, cheap)
    first = shards(out)
    calls.write_text("")
    preprocess("folder", raw, out, cheap)
    assert calls.read_text() == ""
    assert shards(out) == first
    video(raw / "new.mp4", seed=9)
    preprocess("folder", raw, out, cheap)
    assert calls.read_text() == "new.mp4\n"
    assert read_manifest(out).counts["ok"] == 5
    preprocess("folder", raw, tmp_path / "fresh", cheap)
    assert shards(tmp_path / "fresh") == shards(out)


def test_a_rerun_opens_no_video_and_a_new_input_only_itself(
    raw, tmp_path, cheap, video, monkeypatch
):
    """Hashes are kept by name, size and time; the audit hook sees every opening of this process."""
    preprocess("folder", raw, tmp_path / "out", cheap)
    opened: list[str] = []

    def note(event, args):
        if event == "open" and str(args[0]).endswith(".mp4"):
            opened.append(Path(str(args[0])).name)

    sys.addaudithook(note)
    preprocess("folder", raw, tmp_path / "out", cheap)
    assert opened == []
    video(tmp_path / "new.mp4", seed=9).rename(raw / "new.mp4")
    os.utime(raw / "clip 1.mp4", ns=(0, 0))
    opened.clear()
    preprocess("folder", raw, tmp_path / "out", cheap)
    assert set(opened) == {"new.mp4", "clip 1.mp4"}


def test_another_recipe_does_not_overwrite(raw, tmp_path, cheap):
    preprocess("folder", raw, tmp_path / "out", cheap)
    with pytest.raises(InputError, match="made in another way"):
        preprocess("folder", raw, tmp_path / "out", cheap, settings=["min_s=0.5"])


def test_kill_and_rerun_gives_the_undisturbed_bytes(raw, tmp_path, cheap, monkeypatch):
    preprocess("folder", raw, tmp_path / "calm", cheap)
    out, calls = tmp_path / "out", tmp_path / "calls"
    code = (
        "import sys; from pathlib import Path; from preprocessing.run import preprocess; "
        "from preprocessing.recipes import PreprocessRecipe; "
        "preprocess('folder', Path(sys.argv[1]), Path(sys.argv[2]), "
        "PreprocessRecipe(steps='cheap_chain:steps'))"
    )
    done = killed_midway(code, raw, out, clips=4)
    monkeypatch.setenv("CHEAP_CALLS", str(calls))
    preprocess("folder", raw, out, cheap)
    assert len(calls.read_text().splitlines()) == 4 - done
    assert shards(out) == shards(tmp_path / "calm")


def test_what_a_person_can_get_wrong(raw, tmp_path, cheap):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"no data set 'nix'; there are .*folder"):
        preprocess("nix", raw, out, cheap)
    with pytest.raises(InputError, match=r"no data set 'no\.such\.module'"):
        preprocess("no.such.module", raw, out, cheap)
    with pytest.raises(InputError, match="has no function clips"):
        preprocess("preprocessing.ledger", raw, out, cheap)
    with pytest.raises(InputError, match="no engine 'spark'"):
        preprocess("folder", raw, out, cheap, engine="spark")
    with pytest.raises(InputError, match="has no 'nix'"):
        preprocess("folder", raw, out, "preprocessing.recipes:nix")
    with pytest.raises(InputError, match="unknown key 'nix'"):
        preprocess("folder", raw, out, cheap, settings=["nix=1"])
    with pytest.raises(InputError, match="names no function"):
        preprocess("folder", raw, out, cheap, settings=["steps=no.such:thing"])
    with pytest.raises(InputError, match="no file or folder"):
        preprocess("folder", tmp_path / "nowhere", out, cheap)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video file"):
        preprocess("folder", tmp_path / "empty", out, cheap)
    assert not out.exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write"):
        preprocess("folder", raw, tmp_path / "file" / "out", cheap)


def test_a_missing_weight_is_told_before_anything_is_read(raw, tmp_path):
    with pytest.raises(InputError, match="face_detection"):
        preprocess("folder", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
def test_ray_gives_the_same_bytes_and_rows(raw, tmp_path, cheap, video, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    (raw / "bad.mp4").write_bytes(b"")
    video(raw / "long.mp4", seconds=2.4, seed=7)
    cheap = replace(cheap, segment_s=1.0)
    preprocess("folder", raw, tmp_path / "local", cheap)
    preprocess("folder", raw, tmp_path / "ray", cheap, engine="ray")
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
