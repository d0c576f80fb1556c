"""Training in a process of its own, and what it left: numbers told, weights, living workers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from infra.trackers import History
from tests.chaos.harness import PATIENCE_S, Moment, Run
from tests.chaos.recipes import PAUSE_S, STEPS

RECIPE = "tests.chaos.recipes:slow"
Told = list[tuple[int, dict[str, float]]]


class Training(Run):
    """A run of training; its workers leave their pids."""

    def __init__(
        self, shards: Path, out: Path, workers: int = 0, pause_s: float = PAUSE_S,
        keep: str = "", **env: str,
    ) -> None:  # fmt: skip
        """``workers`` on Ray; 0 trains in the process itself."""
        self.out, self.pids = out, out.with_suffix(".pids")
        self.pids.mkdir(parents=True, exist_ok=True)
        for old in self.pids.iterdir():
            old.unlink()
        env = {"SLOW_PIDS": str(self.pids), "SLOW_PAUSE": str(pause_s), **env}
        super().__init__(
            "-m", "flows", "train", "--recipe", RECIPE, "--shards", shards, "--out", out,
            "--engine", "ray" if workers else "local", *(["--keep", keep] if keep else []),
            said=out.with_suffix(".said"),
            **{"FLASHLIPS_WORKERS": str(max(workers, 1)), "FLASHLIPS_GPUS": "0", **env},
        )  # fmt: skip

    def reach(self, step: int) -> None:
        """Waits until so many steps are done by a worker of this very run."""
        self.until(lambda: bool(self.worker(0)) and last_step(self.out) >= step)

    def worker(self, rank: int) -> int:
        """Pid of a worker; 0 when it has not begun."""
        file = self.pids / str(rank)
        return int(file.read_text() or 0) if file.exists() else 0


def told(out: Path) -> Told:
    """Every line of losses that trackers were told, in order, also those told twice."""
    rows = []
    file = out / History.FILE
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:  # half a line, of a full disk
            continue
        if "loss/total" in row:
            rows.append((row.pop("step"), {n: row[n] for n in row if n not in UNTIMELY}))
    return rows


UNTIMELY = ("time", "samples_per_s")


def last_step(out: Path) -> int:
    """The last step that was told."""
    return max((step for step, _ in told(out)), default=0)


def kill(pid: int, moment: Moment) -> None:
    """SIGKILL, somewhere within a step."""
    time.sleep(moment.rng.random() * PAUSE_S)
    os.kill(pid, signal.SIGKILL)


def dies(pid: int) -> None:
    """Waits until it computes no more (a process that nobody buries is dead all the same)."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlived its driver")


def ends_as(out: Path, calm: Path) -> None:
    """Numbers once and in order, weights to the bit, nothing left lying."""
    assert [step for step, _ in told(out)] == list(range(1, STEPS + 1))
    assert told(out) == told(calm)
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (out, calm))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not list(out.glob("state*")), "states were left"


def calm_run(shards: Path, out: Path, workers: int, **env: str) -> Path:
    """An undisturbed run."""
    with Training(shards, out, workers, pause_s=0.0, **env) as run:
        run.completed()
    assert len(told(out)) == STEPS
    return out


def damage(out: Path) -> str:
    """Flips a byte of the last state; gives the state's name."""
    last = max((out / "state").glob("step_*"))
    raw = bytearray((last / "optimizer.safetensors").read_bytes())
    raw[-3] ^= 0xFF
    (last / "optimizer.safetensors").write_bytes(raw)
    return last.name
