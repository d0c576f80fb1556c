"""kill -9 of a run at seeded moments, and a disk that fills up: the rerun ends as if undisturbed.

``make chaos`` kills ten times; CI once. CHAOS_KILLS and CHAOS_SEED choose others.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.shards import read_manifest, read_samples
from preprocessing import ledger

REPO = Path(__file__).parents[2]
KILLS = int(os.environ.get("CHAOS_KILLS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))
CLIPS = 8
CODE = (
    "import sys; from pathlib import Path; from preprocessing.run import preprocess;"
    "from preprocessing.recipes import PreprocessRecipe;"
    "from core.errors import InputError\n"
    "try: preprocess('folder', Path(sys.argv[1]), Path(sys.argv[2]),"
    " PreprocessRecipe(steps='cheap_chain:steps', segment_s=1.0, shard_mb=0.03))\n"
    "except InputError as error: sys.exit(str(error))"
)


def start(raw: Path, out: Path, **env: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(REPO), str(REPO / "tests" / "preprocessing")])
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(raw), str(out)],
        env={**os.environ, "PYTHONPATH": path, **env},
        cwd=REPO, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(run: subprocess.Popen[str]) -> str:
    _, said = run.communicate(timeout=600)
    assert run.returncode == 0, said
    return said


def result(out: Path) -> tuple:
    keys = [sample["key"] for sample in read_samples(out)]
    assert len(keys) == len(set(keys)), "a clip was doubled"
    shards = [(s.name, s.sha256) for s in read_manifest(out).shards]
    rows = sorted(ledger.read(out / ledger.LEDGER), key=lambda row: row["source"])
    return shards, rows


@pytest.fixture
def raw(tmp_path, video) -> Path:
    for i in range(CLIPS):
        video(tmp_path / "raw" / f"{i}.mp4", seed=i, seconds=2.2 if i % 3 == 0 else 1.2)
    (tmp_path / "raw" / "bad.mp4").write_bytes(b"")
    return tmp_path / "raw"


def moments(count: int, seed: int) -> Iterator[Callable[[Path], bool]]:
    """When to kill: after so many clips, after so many segments, or once shards are being put
    together; the first is in the middle."""
    rng = random.Random(seed)
    for i in range(count):
        notes, pieces = rng.randrange(1, CLIPS), rng.randrange(1, CLIPS + 3)
        yield [
            lambda out, n=notes: len(list(out.glob(".work/*/[!.]*.json"))) >= n,
            lambda out, n=pieces: len(list(out.glob(".work/*/[!.]*.tar"))) >= n,
            lambda out: (out / "hashes.json").exists(),
            lambda out: any(out.glob("shard-*.tar")) or any(out.glob(".shard-*.tar")),
            lambda out: (out / ledger.LEDGER).exists(),
        ][i % 5]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_runs_end_as_undisturbed_ones(raw, tmp_path):
    ended(start(raw, tmp_path / "calm"))
    wanted = result(tmp_path / "calm")
    assert len(wanted[0]) > 1
    in_time = 0
    for i, moment in enumerate(moments(KILLS, SEED)):
        out = tmp_path / f"out {i}"
        run = start(raw, out, CHEAP_PAUSE="0.2")
        while run.poll() is None and not moment(out):
            time.sleep(0.001)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        in_time += not (out / "manifest.json").exists()
        ended(start(raw, out))
        assert result(out) == wanted, f"kill {i}"
        assert not list(out.glob(".*.part*")), "halves of files were left"
    assert in_time > KILLS / 2, f"only {in_time} of {KILLS} runs were killed before their end"


def test_a_full_disk_stops_the_run_with_one_sentence_and_it_goes_on(raw, tmp_path):
    """A real file system of 200 kB, where this process may make one."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    # A disk that is really full takes a file system of its own, and those are root's to make.
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount the small file system that it fills")
    try:
        (small / "ballast").write_bytes(bytes(60_000))
        run = start(raw, small / "out")
        _, said = run.communicate(timeout=600)
        assert run.returncode == 1
        last = said.strip().splitlines()[-1]
        assert "can't write" in last
        assert "No space left on device" in last
        assert "make room" in last
        assert "Traceback" not in said
        assert not (small / "out" / "manifest.json").exists()
        assert not list((small / "out").rglob("*.part*")), "halves of files were left"
        (small / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        before = {p.name for p in small.glob("out/.work/*/[!.]*.json")}
        ended(start(raw, small / "out"))
        ended(start(raw, tmp_path / "calm"))
        assert result(small / "out") == result(tmp_path / "calm")
        assert before, "nothing had been done when the disk was full"
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
