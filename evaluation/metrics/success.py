"""Generation success rate: how often is there something to look at, edited at all?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from evaluation.metrics.on_crops import openings
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, VideoCase

ASKED = 0.03
"""A frame asks for a change when source and asked mouth differ so much, face heights."""
CHANGED = 0.015
"""The output's mouth has changed when it differs from the source's so much, half of the above."""
FACES = 0.95
"""Least share of a usable video's frames that show a face."""
CHANGES = 0.5
"""Least share of its frames that ask for a change and got one."""
CLOSED = 0.1
"""Silence asks for a closed mouth: this quantile of the source's own opening."""


def asked(case: VideoCase) -> np.ndarray:
    """(T,) the opening that the sound asks for, face heights; NaN where nobody knows.

    In ``cross`` it is that of the video the sound came from, in ``silent`` the source's closed
    mouth, in ``self`` the source's own.
    """
    was = openings(case.source)
    if case.kind == "self":
        return was
    if case.kind == "cross":
        other = case.audio_video
        return np.full(len(was), np.nan) if other is None else openings(other)
    known = was[np.isfinite(was)]
    return np.full(len(was), np.quantile(known, CLOSED) if len(known) else np.nan)


class Success:
    """Share of videos that are usable, 0 to 1; 1 is best. Reference: the source.

    Of the frames in which the source shows a face, a frame succeeds when the output shows one too
    and, where the sound asks for another mouth (openings 0.03 face heights apart or more), the
    output's opening differs from the source's by 0.015 or more. A video is usable when 95 % of
    these frames show a face and half of those that ask for a change got one. In ``self`` nothing is
    asked for, and only the face counts.

    OmniSync's "Generation Success Rate" is the share of videos that are synchronised and pass a
    look by people. Its paper gives no criterion and names no detector, so this is an automatic
    stand-in and not its number: don't set one beside the other.

    Can be fooled: any change of the mouth counts, in step with the sound or not, and a mesh that
    sees a face in a smear counts it.
    """

    name = "success"
    better: Literal["higher", "lower", "one"] = "higher"
    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """(T,) bool each: ``known``, whether the source shows a face; ``face``, whether the output
        does; ``asked``, whether the sound asks for another mouth; ``changed``, whether it is one.
        """
        was, now = openings(case.source), openings(case.output)
        return {
            "known": case.source.found,
            "face": case.output.found,
            "asked": np.abs(asked(case) - was) >= ASKED,  # NaN on either side asks for nothing
            "changed": np.abs(now - was) >= CHANGED,
        }

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``success`` of videos; ``success_frames`` of frames; ``success_face``, the share of
        frames with a face, and ``success_changed``, of asked changes that were made."""
        known, face, wanted, changed = (
            pooled(rows, key) > 0 for key in ("known", "face", "asked", "changed")
        )
        return {
            "success": finite_mean([_usable(row) for row in rows]),
            "success_frames": finite_mean((face & (changed | ~wanted))[known]),
            "success_face": finite_mean(face[known]),
            "success_changed": finite_mean(changed[wanted]),
        }


def _usable(row: Mapping[str, np.ndarray]) -> float:
    faces = finite_mean(row["face"][row["known"]])
    changes = finite_mean(row["changed"][row["asked"]])
    if np.isnan(faces):
        return float("nan")
    return float(faces >= FACES and not changes < CHANGES)
