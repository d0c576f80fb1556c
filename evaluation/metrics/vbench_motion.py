"""VBench's motion smoothness and dynamic degree: does it move evenly, and does it move at all?"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from evaluation.metrics.features import torch_threads
from evaluation.metrics.vbench import OfVideo, batches, padded
from evaluation.videos import Seen

RATE = 8.0
"""Frames a second, about, between which motion is looked for."""
THRESHOLD = 6.0 / 256
"""Pixels, over the shorter side, that a frame has moved by when it counts."""
TOP = 0.05
"""Share of the pixels, those that move most."""


class MotionSmoothness(OfVideo):
    """How well every second frame can be guessed from its neighbours: 1 minus the mean absolute
    difference over 255, 0 to 1; the mean over videos of the mean over guessed frames. Higher is
    better. Reference: none.

    Net: AMT-S (weight ``amt_s``) makes frame 1 from 0 and 2, 3 from 2 and 4. Preprocessing: whole
    frames in full, their rim repeated to multiples of 16 px; the guess is cut down to whole numbers
    of 0 to 255.

    What fools it: a frozen picture has 1. Most of a talking head stands still, so values lie above
    .99, and a mouth that jumps is a hundredth of a frame. Frames of fewer pixels differ otherwise.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_motion_smoothness", "vbench_amt_s@1"
    needs: tuple[str, ...] = ("amt_s",)

    def _compute(self, seen: Seen) -> np.ndarray:
        frames = seen.frames
        with torch_threads(self._threads):
            guesses = (
                (i, self._between(frames[i - 1 : i + 2 : 2], seen))
                for i in range(1, len(frames) - 1, 2)
            )
            gaps = [np.abs(guess - frames[i].astype(np.int16)).mean() for i, guess in guesses]
        return 1 - np.array(gaps, np.float64) / 255

    def _between(self, pair: np.ndarray, seen: Seen) -> np.ndarray:
        """The frame (h,w,3) between two (2,h,w,3), 0 to 255."""
        from models.experts.correlation import LEAST

        (pictures,) = batches(pair)
        wide, (rows, columns) = padded(pictures, 16, LEAST, seen)
        guess = self._net(wide[:1], wide[1:])[0, :, rows, columns].permute(1, 2, 0)
        return (guess * 255).numpy().clip(0, 255).astype(np.uint8).astype(np.int16)

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the values are not kept yet.
        from models.experts.amt import Amt
        from models.experts.published import load_published

        return load_published(Amt, self._files[0], "no AMT-S; convert amt-s.pth")


class DynamicDegree(OfVideo):
    """The share of videos that move, 0 to 1. Higher is more motion, which VBench calls better; of
    edited videos it ought to be near the source's. Reference: none.

    Net: RAFT (weight ``raft_things``, 20 steps) between frames an eighth of a second apart, every
    third at 25 frames a second. A frame moves when the twentieth of its pixels that move most do so
    by more than 6 px of 256 (of the shorter side) in the mean; a video moves when a quarter of its
    frames do. Preprocessing: whole frames in full, 0 to 255, their rim repeated to multiples of
    8 px and counted.

    What fools it: a camera that shakes, noise, a waving hand: it says nothing of the mouth. Each
    video is 0 or 1, so it needs many.

    Args: as of ``OfVideo``.
    """

    name, maker = "vbench_dynamic_degree", "vbench_raft@1"
    needs: tuple[str, ...] = ("raft_things",)

    def _compute(self, seen: Seen) -> np.ndarray:
        """(N,): motion from each looked-at frame to the next, 1 at the threshold."""
        frames = seen.frames[:: max(1, round(seen.fps / RATE))]
        with torch_threads(self._threads):
            found = [self._motion(frames[i : i + 2], seen) for i in range(len(frames) - 1)]
        return np.array(found, np.float64) / (THRESHOLD * min(frames.shape[1:3]))

    def _motion(self, pair: np.ndarray, seen: Seen) -> float:
        """Pixels that the fastest of (2,h,w,3) move by."""
        from models.experts.correlation import LEAST

        (pictures,) = batches(pair)
        wide, _ = padded(255 * pictures, 8, LEAST, seen)
        lengths = np.linalg.norm(self._net(wide[:1], wide[1:])[0].numpy(), axis=0).ravel()
        return float(np.sort(lengths)[-int(TOP * lengths.size) :].mean())

    def _number(self, values: np.ndarray) -> float:
        """Whether a video moves."""
        return float((values > 1).sum() >= round((len(values) + 1) / 4))

    @cached_property
    def _net(self) -> Any:
        from models.experts.published import load_published
        from models.experts.raft import Raft

        return load_published(Raft, self._files[0], "no RAFT; convert raft-things.pth")
