from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.clip import Clip
from core.media.audio import read_sound
from core.shards import read_samples
from core.split import split_of
from preprocessing import ledger
from preprocessing.inputs import fingerprint, identify, listed
from preprocessing.run import preprocess
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment


def tone(path: Path, step: float, seconds: float = 1.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(np.arange(int(16_000 * seconds)) * step), 16_000)
    return path


def apart(root: Path) -> Iterator[Clip]:
    """Videos whose sound lies beside them, as a newcomer's data set would list them."""
    for path in sorted(root.glob("*.mp4")):
        sound = path.with_suffix(".wav").name
        yield Clip("", str(path), facts={"speaker": "anna", "sound_file": sound})


def faces(root: Path) -> Iterator[Clip]:
    """Two people in one picture, and a third who is not on disk."""
    path = str(root / "v.mp4")
    yield Clip("", path, facts={"speaker": "left", "roi": "fraction:0,0,0.5,1"})
    yield Clip("", path, facts={"speaker": "right", "roi": "fraction:0.5,0,1,1"})
    yield Clip("", path, facts={"speaker": "right", "roi": "fraction:0.5,0,1,1"})
    yield Clip("", str(root / "gone.mp4"), (0.0, 2.0), facts={"speaker": "ben"})
    yield Clip("", path, facts={"speaker": "carl"}).rejected("mine", "too noisy")


def found(clips, root: Path, out: Path) -> list[Clip]:
    out.mkdir(exist_ok=True)
    return [entry.clip for entry in identify(listed(clips, root), out)]


def test_another_sound_file_makes_another_sample(tmp_path, video):
    raw, out = tmp_path / "raw", tmp_path / "out"
    video(raw / "v.mp4", sound=False)
    tone(raw / "v.wav", 0.1)
    (first,) = found(apart, raw, out)
    before = fingerprint(listed(apart, raw))
    tone(raw / "v.wav", 0.2)
    (second,) = found(apart, raw, out)
    assert first.id != second.id
    assert first.facts["sha256"] == second.facts["sha256"]
    assert fingerprint(listed(apart, raw)) != before
    parts = [next(iter(Segment()(Probe()([clip])))) for clip in (first, second)]
    assert parts[0].id != parts[1].id
    moved = tmp_path / "elsewhere"
    raw.rename(moved)
    (third,) = found(apart, moved, tmp_path / "other")
    assert third.id == second.id, "where files lie changes nothing"


def test_probe_and_read_take_the_sound_that_lies_apart(tmp_path, video):
    raw = tmp_path / "raw"
    video(raw / "v.mp4", seed=5)
    tone(raw / "v.wav", 0.31)
    (clip,) = found(apart, raw, tmp_path / "out")
    (probed,) = Probe()([clip])
    assert probed.facts["has_sound"] is True
    (part,) = Segment()([probed])
    step = Read()
    step.setup()
    (read,) = step([part])
    heard = read.fields["sound_around"]["sound"]
    assert np.array_equal(heard[:16_000], read_sound(raw / "v.wav")[:16_000])


def test_a_missing_sound_file_is_a_row(tmp_path, video, cheap, monkeypatch):
    raw = tmp_path / "raw"
    video(raw / "a.mp4", seed=1)
    video(raw / "b.mp4", seed=2)
    tone(raw / "a.wav", 0.1)
    dataset(monkeypatch, apart)
    preprocess("apart_or_faces", raw, tmp_path / "out", cheap)
    rows = {r["source"]: r for r in ledger.read(tmp_path / "out" / ledger.LEDGER)}
    assert rows["a.mp4"]["outcome"] == "ok"
    assert (rows["b.mp4"]["outcome"], rows["b.mp4"]["reason"]) == ("missing", "sound not on disk")
    (sample,) = read_samples(tmp_path / "out")
    assert "sound_file" not in sample["info"]["facts"]


def dataset(monkeypatch: pytest.MonkeyPatch, clips) -> None:
    import sys
    from types import ModuleType

    module = ModuleType("apart_or_faces")
    module.clips = clips
    monkeypatch.setitem(sys.modules, "preprocessing.datasets.apart_or_faces", module)


def test_regions_missing_files_and_the_data_sets_own_rejections(
    tmp_path, video, cheap, monkeypatch
):
    raw, out = tmp_path / "raw", tmp_path / "out"
    video(raw / "v.mp4")
    dataset(monkeypatch, faces)
    preprocess("apart_or_faces", raw, out, cheap)
    rows = ledger.read(out / ledger.LEDGER)
    outcomes = [(r["outcome"], r["step"], r["reason"]) for r in rows]
    assert outcomes == [
        ("ok", "", ""),
        ("ok", "", ""),
        ("duplicate", "discover", "v.mp4"),
        ("missing", "discover", "video not on disk"),
        ("rejected", "mine", "too noisy"),
    ]
    assert rows[3]["source"] == "gone.mp4"
    summary = json.loads((out / ledger.SUMMARY).read_text())
    assert summary["missing"] == 1
    assert summary["outcomes"]["missing"] == 1
    assert summary["reasons"]["discover: video not on disk"] == 1
    left, right = sorted(read_samples(out), key=lambda s: s["info"]["speaker"])
    assert not np.array_equal(left["crop"], right["crop"])
    assert left["info"]["split"] == left["info"]["facts"]["split"] == split_of("left")
    video(raw / "gone.mp4", seed=3, seconds=2.4)
    preprocess("apart_or_faces", raw, out, cheap)
    assert json.loads((out / ledger.SUMMARY).read_text())["missing"] == 0


def test_nothing_on_disk_is_told_with_the_reason(tmp_path, cheap, monkeypatch):
    (tmp_path / "raw").mkdir()
    dataset(monkeypatch, lambda root: iter([Clip("", str(root / "a.mp4"))]))
    with pytest.raises(Exception, match=r"no clip was kept: discover: video not on disk \(1 of 1"):
        preprocess("apart_or_faces", tmp_path / "raw", tmp_path / "out", cheap)
    assert len(ledger.read(tmp_path / "out" / ledger.LEDGER)) == 1


def test_stage1_only_is_kept_with_silence_and_said_in_the_sample(
    tmp_path, video, cheap, monkeypatch
):
    raw, out = tmp_path / "raw", tmp_path / "out"
    video(raw / "loud.mp4", seed=1)
    video(raw / "mute.mp4", seed=2, sound=False)

    def unusable(root: Path) -> Iterator[Clip]:
        for path in sorted(root.glob("*.mp4")):
            yield Clip("", str(path), facts={"stage1_only": True})

    dataset(monkeypatch, unusable)
    preprocess("apart_or_faces", raw, out, cheap)
    infos = [sample["info"] for sample in read_samples(out)]
    assert [info["stage1_only"] for info in infos] == [True, True]
    step = Read()
    step.setup()
    (clip, _) = found(unusable, raw, tmp_path / "o")
    (part,) = Segment()(Probe()([clip]))
    (read,) = step([part])
    assert not read.fields["sound_around"]["sound"].any()
    mute = tmp_path / "silence"
    preprocess("folder", raw, mute, cheap, settings=["no_sound=silence"])
    marks = {s["info"]["source"]: s["info"].get("stage1_only") for s in read_samples(mute)}
    assert marks == {"loud.mp4": None, "mute.mp4": True}


def test_an_old_ledger_is_still_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"id": "a", "source": "a.mp4", "outcome": "ok"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "old.parquet")
    assert ledger.read(tmp_path / "old.parquet") == [row]
