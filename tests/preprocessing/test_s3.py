"""Preprocessing into a bucket, behind a real server that also goes away."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.shards import read_manifest, read_samples
from preprocessing import ledger
from preprocessing.run import preprocess


def shards(out) -> dict[str, str]:
    return {s.name: s.sha256 for s in read_manifest(out).shards}


@pytest.fixture
def raw(tmp_path, video):
    for i in range(4):
        video(tmp_path / "raw" / f"clip {i}.mp4", seed=i)
    return tmp_path / "raw"


def test_a_bucket_gets_the_bytes_that_a_folder_gets(raw, tmp_path, cheap, s3, video):
    small = ["shard_mb=0.01"]
    (raw / "bad.mp4").write_bytes(b"")
    preprocess("folder", raw, tmp_path / "out", cheap, settings=small)
    out = s3.place("set")
    manifest = preprocess("folder", raw, out, cheap, settings=small)
    assert str(manifest) == "s3://bucket/set/manifest.json"
    assert shards(out) == shards(tmp_path / "out")
    assert ledger.read(out / ledger.LEDGER) == ledger.read(tmp_path / "out" / ledger.LEDGER)
    here, there = (list(read_samples(o)) for o in (tmp_path / "out", out))
    assert [s["key"] for s in here] == [s["key"] for s in there]
    assert (here[0]["crop"] == there[0]["crop"]).all()
    assert not list((s3.folder / "work").glob("*/*/*.tar")), "pieces are let go"
    # Finished is recognised; new inputs are added; shards that are no more go away.
    preprocess("folder", raw, out, cheap, settings=small)
    video(raw / "new.mp4", seed=9)
    preprocess("folder", raw, out, cheap, settings=small)
    preprocess("folder", raw, tmp_path / "fresh", cheap, settings=small)
    assert shards(out) == shards(tmp_path / "fresh")
    with pytest.raises(InputError, match="made in another way"):
        preprocess("folder", raw, out, cheap, settings=["min_s=0.5"])


def test_a_server_that_stays_away_ends_the_run_and_a_rerun_completes(raw, tmp_path, cheap, s3):
    out = s3.place("set", patience_s=1)
    s3.kill()
    with pytest.raises(InputError, match="can't reach s3://bucket/set"):
        preprocess("folder", raw, out, cheap)
    s3.start()
    preprocess("folder", raw, out, cheap)
    preprocess("folder", raw, tmp_path / "calm", cheap)
    assert shards(out) == shards(tmp_path / "calm")


def test_shards_that_are_uploaded_are_not_uploaded_again(raw, tmp_path, cheap, s3, monkeypatch):
    """The server goes away between two shards; the rerun begins with the one that is missing."""
    from core.storage import Remote

    out, sent = s3.place("set", patience_s=1), []
    upload = Remote.upload

    def counted(self, path):
        if self.name == "shard-00002.tar" and len(sent) == 2:
            s3.kill()
        upload(self, path)
        if self.name.startswith("shard-"):
            sent.append(self.name)

    monkeypatch.setattr(Remote, "upload", counted)
    with pytest.raises(InputError, match="can't reach"):
        preprocess("folder", raw, out, cheap, settings=["shard_mb=0.01"])
    assert sent == ["shard-00000.tar", "shard-00001.tar"]
    s3.start()
    sent.append("restart")
    preprocess("folder", raw, out, cheap, settings=["shard_mb=0.01"])
    assert sent[3:] == ["shard-00002.tar", "shard-00003.tar"]
    preprocess("folder", raw, tmp_path / "calm", cheap, settings=["shard_mb=0.01"])
    assert shards(out) == shards(tmp_path / "calm")


def test_the_verbs(raw, tmp_path, cheap, s3, capsys):
    from flows.cli import main

    made = ["preprocess", "--dataset", "folder", "--source", str(raw), "--recipe"]
    assert main([*made, "cheap_chain:cheap", "--out", "s3://bucket/set"]) == 0
    side = ["preprocess", "--sidecar-of", "s3://bucket/set", "--recipe", "cheap_chain:grey"]
    assert main([*side, "--out", "s3://bucket/more"]) == 0
    page = str(tmp_path / "page.html")
    assert main(["data", "inspect", "s3://bucket/set", "s3://bucket/more", "--out", page]) == 0
    out = capsys.readouterr().out
    assert "s3://bucket/set/manifest.json" in out
    assert "s3://bucket/more/manifest.json" in out
    assert "grey" in out, "the sidecar's facts are shown too"
    assert list(raw.rglob("*.json")) == []
