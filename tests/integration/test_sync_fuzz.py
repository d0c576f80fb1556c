"""Damaged videos and sounds through ``sync``: a readable OUT or one sentence, never a crash.

``make fuzz`` sends 200 of them; CI a few. SYNC_FUZZ_FILES and FUZZ_SEED choose others.
"""

from __future__ import annotations

import os
import queue
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.testing import dummy_video, talking_frame
from core.weights import Store
from inference.footage import Span
from inference.report import report_path
from tests.integration import sync_worker
from tests.integration.sync_worker import Case, Worker
from tests.mutations import MUTATIONS
from tests.preprocessing.odd_files import MPEG, even, uneven, write

FILES = int(os.environ.get("SYNC_FUZZ_FILES", "12"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
WORKERS = min(2, os.cpu_count() or 1)
SIZE = (128, 96)
SPANS = (
    *(Span(),) * 6, Span(length="audio"), Span(length="shortest"), Span(0.3, 0.9),
    Span(0.2, preview=True),
)  # fmt: skip
ADVICE = re.compile(r"[;:,] (give|choose|check|convert|name|use) [^;]*$")


def face(index: int, size: tuple[int, int]) -> np.ndarray:
    return talking_frame(index, *size)[0]


def videos(folder: Path) -> list[Path]:
    """A small whole video of each kind, with a drawn face in it."""
    drawn = {"size": SIZE, "draw": face}
    return [
        write(folder / "a.mp4", even(1.2), **drawn),
        write(folder / "b.mov", uneven(1.2), **drawn),
        write(folder / "c.mkv", even(1.2), **drawn),
        write(folder / "d.ts", even(1.4), **drawn),
        write(folder / "e.mpg", even(1.2), **MPEG, **drawn),
        write(folder / "f.avi", even(1.2), acodec="mp2", rate=48_000, **drawn),
        write(
            folder / "g.webm", even(1.2), vcodec="libvpx", acodec="libopus", rate=48_000, **drawn
        ),
        dummy_video(folder / "h.mp4", 1.2, Fraction(30_000, 1001), SIZE, face=True),  # index first
    ]


def sounds(folder: Path) -> list[Path]:
    """A small whole sound of each kind."""
    tone = 0.3 * np.sin(np.arange(52_920) * 0.05)  # 1.2 s
    made = [folder / name for name in ("a.wav", "b.flac", "c.mp3")]
    for path in made:
        soundfile.write(path, np.stack([tone, 0.5 * tone], 1), 44_100)
    return [*made, write(folder / "d.m4a", [])]


def cases(folder: Path, count: int, seed: int) -> list[Case]:
    """Damaged inputs with whole partners, each with a folder for its OUT."""
    rng = random.Random(seed)
    (folder / "whole").mkdir()
    seen, heard = videos(folder / "whole"), sounds(folder / "whole")
    others = [path.read_bytes() for path in (*seen, *heard)]
    made = []
    for i in range(count):
        mutation, role = MUTATIONS[i % len(MUTATIONS)], rng.choice(["video", "audio", "both"])
        # People take the sound of videos, too.
        whole = rng.choice(seen if role != "audio" or rng.random() < 0.2 else heard)
        path = folder / "in" / f"{i:04d} {mutation.__name__} {role}{whole.suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mutation(bytearray(whole.read_bytes()), rng, others))
        video = rng.choice(seen) if role == "audio" else path
        audio = rng.choice(heard) if role == "video" else path
        out = folder / "out" / f"{i:04d}" / "out.mp4"
        crops = rng.random() < 0.7
        made.append(Case(path.name, video, audio, path, out, crops, rng.choice(SPANS)))
    return made


def complaint(case: Case, kind: str, said: str) -> str:
    """What is wrong with how a case went, or ""."""
    wanted = {case.out.name, report_path(case.out).name} if kind == "edited" else set()
    left = {path.name for path in case.out.parent.iterdir()} if case.out.parent.exists() else set()
    if kind not in ("edited", "refused"):
        return f"{kind}: {said}"
    if left != wanted:
        return f"{kind}, and its folder holds {sorted(left)}"
    if kind == "refused":
        if "\n" in said or not 20 < len(said) < 400:
            return f"no sentence: {said!r}"
        if case.damaged.name not in said:
            return f"names no file: {said}"
        if not ADVICE.search(said):
            return f"does not say what to do: {said}"
    return ""


def through(todo: list[Case], weights: tuple[Path, ...]) -> list[tuple[str, str, float]]:
    """How each case went, and the seconds it took."""
    workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for _ in range(WORKERS):
        workers.put(Worker(weights))

    def done(case: Case) -> tuple[str, str, float]:
        worker, start = workers.get(), time.perf_counter()
        try:
            return *worker.do(case), time.perf_counter() - start
        finally:
            workers.put(worker)

    try:
        with ThreadPoolExecutor(WORKERS) as threads:
            return list(threads.map(done, todo))
    finally:
        for _ in range(WORKERS):
            workers.get().close()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_damaged_inputs_give_a_whole_out_or_one_sentence(tmp_path, store):
    todo = cases(tmp_path, FILES, SEED)
    before = {path: path.read_bytes() for case in todo for path in (case.video, case.audio)}
    went = through(todo, store.folders)
    log, lines = [], []
    for case, (kind, said, seconds) in zip(todo, went, strict=True):
        log.append(f"{seconds:6.2f} s  {case.name}: {kind}: {said.splitlines()[-1]}")
        if wrong := complaint(case, kind, said):
            lines.append(f"{case.damaged} ({case.span}, crops {case.crops}): {wrong}")
    (tmp_path / "log.txt").write_text("\n".join(log) + "\n")
    assert not lines, "\n".join(lines)
    assert {path: path.read_bytes() for path in before} == before, "inputs are only read"
    assert set(Counter(kind for kind, _, _ in went)) == {"edited", "refused"}, "all of one kind"


def trouble(case: Case, store: Store) -> tuple[str, str]:
    """What a broken library would do."""
    if case.name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if case.name == "hang":
        time.sleep(600)
    return "edited", case.name


@pytest.mark.slow
def test_a_crash_and_a_hang_are_seen_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sync_worker, "LIMIT_S", 3.0)
    worker = Worker((), trouble)
    try:
        for name, answer in (
            ("crash", ("crash", "ended by SIGSEGV")),
            ("hang", ("hang", "not done after 3 s")),
            ("fine", ("edited", "fine")),
        ):
            case = Case(name, tmp_path, tmp_path, tmp_path, tmp_path / "out.mp4", False, Span())
            assert worker.do(case) == answer
            if name != "fine":
                assert complaint(case, *answer) == ": ".join(answer)
    finally:
        worker.close()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_command_line_says_one_sentence(tmp_path, store):
    """With the shipped checkpoint, as a person runs it."""
    repo = Path(__file__).resolve().parents[2]
    folders = os.pathsep.join(str(folder) for folder in store.folders)
    for case in cases(tmp_path, 4, SEED + 1000):
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "sync", case.video, case.audio, "-o", case.out],
            capture_output=True, text=True, cwd=repo, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": str(repo), "FLASHLIPS_WEIGHTS": folders},
        )  # fmt: skip
        assert done.returncode in (0, 2), (case, done.stderr)
        assert "Traceback" not in done.stderr
        if done.returncode == 2:
            said = done.stderr.strip().splitlines()[-1]
            assert said.startswith("flashlips: ")
            assert not complaint(case, "refused", said.removeprefix("flashlips: "))
        else:
            assert case.out.exists()
