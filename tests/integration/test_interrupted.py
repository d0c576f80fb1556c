"""kill -9 in the middle of training, then the same command again: as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest
from safetensors.torch import load_file

REPO_RECIPE = "training.recipes.flashlips:nano_reconstruction"


def command(shards, out):
    return [
        sys.executable, "-m", "flows", "train", "--recipe", REPO_RECIPE, "--shards", str(shards),
        "--out", str(out), "--set", "steps=40", "--set", "batch=4", "--set", "threads=1",
        "--set", "save_every_s=0.0", "--set", "held_out_samples=8",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(shards, tmp_path, monkeypatch):
    monkeypatch.setenv("FLASHLIPS_RUNS", str(tmp_path / "runs"))
    subprocess.run(command(shards, tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(shards, tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wanted = random.Random(0).randint(5, 30)
    state = tmp_path / "cut" / "state"
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        done = [int(p.name.rpartition("_")[2]) for p in state.glob("step_*")]
        if done and max(done) >= wanted:
            break
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "card.json").exists()
    subprocess.run(command(shards, tmp_path / "cut"), check=True, capture_output=True)
    whole, cut = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    for name in whole:
        assert whole[name].equal(cut[name]), name
