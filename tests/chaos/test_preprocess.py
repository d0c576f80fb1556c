"""Preprocessing, broken in six ways: the shards and the ledger end as if undisturbed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.shards import read_manifest, read_samples
from core.storage import Place
from preprocessing import ledger
from tests.chaos.disk import small_disk
from tests.chaos.harness import Moment, Note, Run, flashlips
from tests.chaos.proxy import Proxy
from tests.preprocessing.conftest import write_video

CLIPS = 8
WORK = ".work/*/[!.]*"
"""Where a run notes finished clips (.json) and keeps their segments (.tar)."""
pytestmark = [pytest.mark.timeout(1800)]


def start(raw: Path, out: object, said: Path, engine: str = "local", **env: str) -> Run:
    words = ["preprocess", "--dataset", "folder", "--source", raw, "--out", out]
    words += ["--recipe", "cheap_chain:cheap", "--engine", engine]
    settings = ("segment_s=1.0", "shard_mb=0.03")
    return flashlips(*words, *(w for s in settings for w in ("--set", s)), said=said, **env)


def result(out: Place) -> tuple:
    """Names and hashes of the shards, and the ledger."""
    keys = [sample["key"] for sample in read_samples(out)]
    assert len(keys) == len(set(keys)), "a clip was doubled"
    shards = [(s.name, s.sha256) for s in read_manifest(out).shards]
    rows = sorted(ledger.read(out / ledger.LEDGER), key=lambda row: row["source"])
    return shards, rows


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chaos") / "raw"
    for i in range(CLIPS):
        write_video(folder / f"{i}.mp4", seed=i, seconds=2.2 if i % 3 == 0 else 1.2)
    (folder / "bad.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def calm(raw) -> tuple:
    """What an undisturbed run makes."""
    out = raw.with_name("calm")
    with start(raw, out, raw.with_name("calm.said")) as run:
        run.completed()
    found = result(out)
    assert len(found[0]) > 1
    return found


def ends_as(out: Path, calm: tuple) -> None:
    assert result(out) == calm
    assert not list(out.rglob(".*.part*")), "halves of files were left"


def count(folder: Path, pattern: str, least: int) -> Callable[[], bool]:
    return lambda: len(list(folder.glob(pattern))) >= least


@pytest.mark.slow
@pytest.mark.cell("preprocess", "driver")
def test_driver(raw, calm, moment: Moment, note: Note, tmp_path):
    """kill -9 after so many clips, after so many segments, while shards are put together."""
    out, n = tmp_path / "out", moment.rng.randrange(1, CLIPS)
    note.how, note.when = "SIGKILL", moment.one_of(
        f"{n} of {CLIPS + 1} clips were noted", f"{n} segments were written",
        "shards were being put together",
    )  # fmt: skip
    reached = {
        "noted": count(out, f"{WORK}.json", n),
        "written": count(out, f"{WORK}.tar", n),
        "together": lambda: any(out.glob("shard-*.tar")) or any(out.glob(".shard-*.tar")),
    }[note.when.split()[-1]]
    with start(raw, out, tmp_path / "said", CHEAP_PAUSE="0.2") as run:
        run.until(reached)
        run.kill()
    assert not (out / "manifest.json").exists(), "it was killed too late"
    with start(raw, out, tmp_path / "again") as run:
        run.completed()
    ends_as(out, calm)
    note.what = "completed after restart"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.cell("preprocess", "worker process")
def test_worker(raw, calm, moment: Moment, note: Note, tmp_path):
    """kill -9 of the Ray worker that has clips in its hands."""
    out, n = tmp_path / "out", moment.rng.randrange(1, CLIPS - 2)
    note.how, note.when = "SIGKILL of a Ray actor", f"{n} of {CLIPS + 1} clips were noted"
    with start(raw, out, tmp_path / "said", "ray", CHEAP_PAUSE="1.0") as run:
        run.until(count(out, f"{WORK}.json", n))
        actors = run.family("ray::MapWorker")
        assert actors, run.family("ray::")
        actors[moment.rng.randrange(len(actors))].kill()
        assert len(list(out.glob(f"{WORK}.json"))) <= CLIPS, "it was killed too late"
        run.completed()
    ends_as(out, calm)
    note.what = "went on without a restart"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.cell("preprocess", "Ray node")
def test_node(raw, calm, moment: Moment, note: Note, tmp_path, two_nodes):
    """One of two nodes is taken away."""
    out, n = tmp_path / "out", moment.rng.randrange(1, CLIPS - 2)
    note.how, note.when = "raylet and its workers killed", f"{n} of {CLIPS + 1} clips were noted"
    env = {"CHEAP_PAUSE": "1.0"}
    with (
        two_nodes(**env) as nodes,
        start(raw, out, tmp_path / "said", "ray", RAY_ADDRESS=nodes.address, **env) as run,
    ):
        run.until(count(out, f"{WORK}.json", n))
        nodes.lose()
        assert len(list(out.glob(f"{WORK}.json"))) <= CLIPS, "it was taken away too late"
        nodes.noticed()
        run.completed()
    ends_as(out, calm)
    note.what = "went on without a restart"


@pytest.mark.slow
@pytest.mark.cell("preprocess", "S3 server")
def test_s3_server(raw, calm, moment: Moment, note: Note, tmp_path, s3):
    """The server is killed and started again, alone or with the driver."""
    n = moment.rng.randrange(1, CLIPS // 2)
    both = moment.one_of("server", "both") == "both"
    note.how = "SIGKILL" + (", of the driver too" if both else "")
    note.when, pattern = moment.one_of(
        f"{n} clips were noted|work/*/*/[!.]*.json", f"{n} shards were there|data/*/set/shard-*"
    ).split("|")
    with start(raw, "s3://bucket/set", tmp_path / "said", CHEAP_PAUSE="0.1") as run:
        run.until(count(s3.folder, pattern, n))
        s3.kill()
        if both:
            run.kill()
        time.sleep(2)
        s3.start()
        note.what = "went on and caught up"
        if not both:
            run.completed()
    if both:
        note.what = "completed after restart"
        with start(raw, "s3://bucket/set", tmp_path / "again") as run:
            run.completed()
    assert result(s3.place("set")) == calm


@pytest.fixture
def proxy(s3) -> Iterator[Proxy]:
    with Proxy(s3.port) as found:
        yield found


@pytest.mark.slow
@pytest.mark.cell("preprocess", "S3 cut for 20 s")
def test_s3_cut(raw, calm, moment: Moment, note: Note, tmp_path, s3, proxy):
    """The way to the server is cut; who waits long enough goes on, others are told so."""
    n = moment.rng.randrange(1, CLIPS)
    kind = moment.one_of("silent", "refused", "impatient")
    note.how = f"TCP proxy, 20 s {'without an answer' if kind == 'silent' else 'refused'}"
    note.when = f"{n} of {CLIPS + 1} clips were noted"
    env = {"FLASHLIPS_S3_ENDPOINT": f"http://127.0.0.1:{proxy.port}", "CHEAP_PAUSE": "0.2"}
    if kind == "impatient":
        env["FLASHLIPS_S3_PATIENCE"] = "5"
    with start(raw, "s3://bucket/set", tmp_path / "said", **env) as run:
        run.until(count(s3.folder, "work/*/*/[!.]*.json", n))
        proxy.cut(20.0, silent=kind == "silent")
        if kind == "impatient":
            note.what = f"failed with: {run.refused()}; rerun completed"
            assert "can't reach" in note.what
        else:
            run.completed()
            note.what = "went on and caught up"
    if kind == "impatient":
        with start(raw, "s3://bucket/set", tmp_path / "again", **env) as run:
            run.completed()
    assert proxy.passed > 0
    assert result(s3.place("set")) == calm


@pytest.mark.cell("preprocess", "disk full")
def test_disk(raw, calm, moment: Moment, note: Note, tmp_path):
    """Quick enough for every day: one sentence, and the rerun goes on."""
    with small_disk(tmp_path / "small", 100 + moment.rng.randrange(40)) as disk:
        out = disk.folder / "out"
        note.how, note.when = disk.how, "some clips were noted"
        with start(raw, out, tmp_path / "said", **disk.env) as run:
            run.until(count(out, f"{WORK}.json", 2), ended=True)
            disk.fill()
            sentence = run.refused()
        assert "can't write" in sentence
        assert "No space left on device" in sentence
        assert "make room" in sentence
        assert not (out / "manifest.json").exists()
        assert not list(out.rglob("*.part*")), "halves of files were left"
        assert list(out.glob(f"{WORK}.json")), "nothing had been done when the disk was full"
        disk.grow()
        with start(raw, out, tmp_path / "again", **disk.env) as run:
            run.completed()
        ends_as(out, calm)
    note.what = f"failed with: {sentence}; rerun completed"
