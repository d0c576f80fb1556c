"""A run in a process of its own, killed once its first clip is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def killed_midway(code: str, source: Path, out: Path, clips: int) -> int:
    """Runs ``code`` with (source, out) on a slow cheap chain, kills it; how many clips it did."""
    env = {**os.environ, "PYTHONPATH": str(HERE), "CHEAP_PAUSE": "0.4"}
    command = [sys.executable, "-c", code, str(source), str(out)]
    run = subprocess.Popen(command, env=env, cwd=Path.cwd())
    end = time.monotonic() + 60
    while not _done(out) and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / "manifest.json").exists()
    assert 1 <= _done(out) < clips
    return _done(out)


def _done(out: Path) -> int:
    """Finished notes; halves of files begin with a dot."""
    return len(list(out.glob(".work/*/[!.]*.json")))
