"""Places: a bucket behind a real server reads and writes as a folder does."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from aiohttp import ClientConnectionResetError

from core import storage
from core.errors import InputError
from core.files import atomic, read_json, write_json
from core.sample import SCHEMA_VERSION
from core.shards import Manifest, read_manifest, read_samples, write_manifest, write_shard
from core.storage import S3, Remote, _overheard


def sample(key: str) -> dict:
    return {"key": key, "info": {"clip": key}}


def test_addresses():
    assert storage.place("s3://b/p/", S3()) == Remote("s3://b/p")
    assert (Remote("s3://b/p") / "x.json").name == "x.json"
    with pytest.raises(InputError, match="neither a folder nor"):
        storage.place("gs://b/p", S3())
    with pytest.raises(InputError, match="names no bucket"):
        storage.place("s3://", S3())


def test_objects(s3):
    place = s3.place("a/b")
    assert storage.names(place) == []
    assert not (place / "x.json").exists()
    write_json(place / "x.json", {"a": 1})
    write_json(place / "deep" / "y.json", {"a": 1})
    assert read_json(place / "x.json") == {"a": 1}
    assert storage.names(place) == ["x.json"]
    assert storage.size(place / "x.json") == len('{\n  "a": 1\n}\n')
    assert not place.exists(), "a prefix is no object"
    (place / "x.json").unlink()
    (place / "x.json").unlink(missing_ok=True)
    assert not (place / "x.json").exists()
    with pytest.raises(InputError, match="can't read"):
        read_json(place / "x.json")


def test_what_fails_half_way_is_not_there(s3):
    place = s3.place("a")

    def half() -> None:
        with atomic(place / "x.bin") as part:
            part.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert storage.names(place) == []
    assert not list((s3.folder / "work" / "cache").iterdir())


def test_shards_are_the_same_bytes_as_in_a_folder(s3, tmp_path):
    samples = [sample("a"), sample("b")]
    local = write_shard(tmp_path / "s.tar", samples)
    there = write_shard(s3.place("set") / "s.tar", samples)
    assert there == local
    write_manifest(s3.place("set"), Manifest({}, [there]))
    assert [x["key"] for x in read_samples(s3.place("set"))] == ["a", "b"]
    assert read_manifest(s3.place("set")).hash() == Manifest({}, [local]).hash()
    (s3.place("set") / "s.tar").unlink()
    assert len(list(read_samples(s3.place("set")))) == 2, "a copy is here"
    for copy in (s3.folder / "work" / "cache").iterdir():
        copy.unlink()
    with pytest.raises(InputError, match="is missing"):
        list(read_samples(s3.place("set")))
    write_shard(s3.place("set") / "s.tar", [sample("c"), sample("d")])
    with pytest.raises(InputError, match="damaged or was replaced"):
        list(read_samples(s3.place("set")))


def test_copies_used_longest_ago_are_let_go(s3):
    small = replace(s3.place("set").server, cache_gb=1e-5)  # 10 kB: one tar
    for name in ("a", "b"):
        place = Remote(s3.place(name).url, small)
        write_manifest(place, Manifest({}, [write_shard(place / "s.tar", [sample(name)])]))
        assert len(list(read_samples(place))) == 1
        time.sleep(0.02)
    (left,) = (s3.folder / "work" / "cache").glob("*.tar")
    assert left.stem == read_manifest(s3.place("b")).shards[0].sha256


def test_a_wrong_secret_and_a_missing_bucket_are_told_at_once(s3, monkeypatch):
    with pytest.raises(InputError, match="no bucket other"):
        write_json(Remote("s3://other/x.json", s3.place("a").server), {})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage._filesystem.cache_clear()
    start = time.monotonic()
    with pytest.raises(InputError, match="refuses"):
        write_json(s3.place("a") / "x.json", {})
    assert time.monotonic() - start < 10


def test_a_server_that_stays_away_is_one_sentence(s3):
    s3.kill()
    with pytest.raises(InputError, match=r"can't reach s3://bucket/a/x\.json at http.* for 1 s"):
        write_json(s3.place("a", patience_s=1) / "x.json", {"schema": SCHEMA_VERSION})


def test_a_server_that_comes_back_is_waited_for(s3):
    s3.kill()
    back = threading.Timer(1.5, s3.start)
    back.start()
    write_json(s3.place("a") / "x.json", {"a": 1})
    back.join()
    assert read_json(s3.place("a") / "x.json") == {"a": 1}


def test_of_a_lost_wire_only_the_call_that_waits_tells():
    told = []
    loop = SimpleNamespace(default_exception_handler=told.append)
    for error in (ConnectionResetError(), ClientConnectionResetError(), KeyError("ours")):
        _overheard(loop, {"exception": error})
    assert [type(context["exception"]) for context in told] == [KeyError]
