"""Lip leakage: does the source's speech still move a mouth that was given silence?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from evaluation.metrics.on_crops import openings
from evaluation.metrics.opening import LEAST_FRAMES, agreement
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, VideoCase

WANTED = 0.15
"""``leakage`` below this is wanted: nobody takes the rest for speech."""
STILL = 1e-6
"""A source whose opening spreads less than this, face heights, says nothing of leakage."""


def residual(was: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """What is left of the mouth's motion, from its opening before and after, each (T,), NaN known.

    Returns:
        ``motion``: spread of the opening over the source's; ``speed``: its mean change from frame
        to frame over the source's; ``follows``: their correlation, 0 where it does not move at all.
        NaN where the source stands still or too few frames show a face.
    """
    both = np.isfinite(was) & np.isfinite(now)
    a, b = was[both].astype(np.float64), now[both].astype(np.float64)
    if len(a) < LEAST_FRAMES or a.std() < STILL:
        return dict.fromkeys(("motion", "speed", "follows"), float("nan"))
    steps = both[1:] & both[:-1]  # over a gap the change would be of several frames
    fast, left = (finite_mean(np.abs(np.diff(track)[steps])) for track in (was, now))
    return {
        "motion": float(b.std() / a.std()),
        "speed": left / fast if fast > 0 else float("nan"),
        "follows": agreement(b, a)[0],
    }


class Leakage:
    """Motion of the mouth under a silent sound over the motion it had. Reference: the source.

    ``leakage`` is the spread of the opening over the source's: 0 is a still mouth, 1 moves as the
    source does; below 0.15 is wanted. ``leakage_speed`` is the same of the change from frame to
    frame, which sees trembling too; ``leakage_r`` the correlation with the source's opening (-1 to
    1, 0 is best), and ``leakage_pass`` the share of cases with ``leakage`` below 0.15. Each is made
    case by case and averaged.

    Can be fooled: a frozen mouth that stays open scores 0; a mesh that guesses the mouth from the
    cheeks adds motion and correlation that is not in the pixels of the lips.
    """

    name = "leakage"
    better: Literal["higher", "lower", "one"] = "lower"
    directions: Mapping[str, str] = {"leakage_pass": "higher", "leakage_found": "higher"}
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("silent",)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``was`` and ``now`` (T,): opening of source and output over face height."""
        return {"was": openings(case.source), "now": openings(case.output)}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``leakage``, ``leakage_speed``, ``leakage_r``, ``leakage_pass``, and ``leakage_found``,
        the share of frames with a face in the output."""
        found = [residual(row["was"], row["now"]) for row in rows]
        motion = np.array([one["motion"] for one in found])
        known = motion[np.isfinite(motion)]
        return {
            "leakage": finite_mean(motion),
            "leakage_speed": finite_mean([one["speed"] for one in found]),
            "leakage_r": finite_mean([one["follows"] for one in found]),
            "leakage_pass": finite_mean(known < WANTED),
            "leakage_found": float(np.isfinite(pooled(rows, "now")).mean()),
        }
