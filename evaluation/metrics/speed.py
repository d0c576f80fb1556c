"""Speed: how fast a system edits one video, and how much memory that takes.

Not a metric of cases: it measures a run, and no finished video tells it. A report has its numbers
where somebody asked for them (``flashlips evaluate --speed``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil

from core.errors import InputError

WARM_UPS, RUNS = 5, 10
"""The same clip 5 times to warm up, then 10 times (FlashLips, section 4.3)."""
EVERY = 0.02
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Speed:
    """How fast one video was edited.

    Attributes:
        fps: frames of the video over the runs' mean time; higher is better.
        seconds: of each measured run.
        real_time: mean time of a run over the video's length; below 1 is faster than it plays.
        memory: most resident bytes that the process and its children held at a look during all
            runs, warm-ups too, with all that lay in memory before.
        device_memory: most bytes of tensors on the GPU, 0 without one.
    """

    fps: float
    seconds: tuple[float, ...]
    real_time: float
    memory: int
    device_memory: int

    def numbers(self) -> dict[str, float]:
        """As a report has them: ``speed_fps``, ``speed_real_time`` and memory in MB."""
        found = {
            "speed_fps": self.fps,
            "speed_real_time": self.real_time,
            "speed_memory_mb": self.memory / 1e6,
        }
        return found | ({"speed_device_mb": self.device_memory / 1e6} if self.device_memory else {})


DIRECTIONS = {
    "speed_fps": "higher",
    "speed_real_time": "lower",
    "speed_memory_mb": "lower",
    "speed_device_mb": "lower",
}


def speed(
    edit: Callable[[], int],
    length: float,
    warm_ups: int = WARM_UPS,
    runs: int = RUNS,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Times a system on one video.

    What ``edit`` does is what is timed: say beside the number whether reading, finding the face,
    the codec and writing are in it. Published figures rarely do.

    Args:
        edit: edits the video once and returns how many frames it made.
        length: of the video, seconds.
        warm_ups: runs that are not timed.
        runs: runs that are.
        clock: in seconds.

    Raises:
        InputError: nothing to time, or runs that differ in frames.
    """
    if length <= 0 or runs < 1 or warm_ups < 0:
        raise InputError(
            f"{runs} runs after {warm_ups} of a video of {length} s can't be timed; take a video "
            "that lasts and at least one run"
        )
    counts, seconds = [], []
    _forget_peak()
    with _Peak() as peak:
        for index in range(warm_ups + runs):
            _wait_for_device()
            start = clock()
            counts.append(edit())
            _wait_for_device()
            if index >= warm_ups:
                seconds.append(clock() - start)
    if len(set(counts)) > 1 or not counts[0]:
        raise InputError(f"runs of one video made {sorted(set(counts))} frames; they must agree")
    mean = float(np.mean(seconds))
    return Speed(counts[0] / mean, tuple(seconds), mean / length, peak.bytes, _device_peak())


class _Peak:
    """Looks at the memory from a thread while the block runs."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self._look()

    def _look(self) -> None:
        own = psutil.Process()
        held = 0
        for process in (own, *own.children(recursive=True)):
            try:
                held += process.memory_info().rss
            except psutil.NoSuchProcess:  # it ended between the two questions
                continue
        self.bytes = max(self.bytes, held)


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _forget_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _device_peak() -> int:
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0
