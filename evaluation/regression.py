"""Whether a system got worse on a benchmark: paired differences between two of its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.differences import differences, verdict
from evaluation.stats import Interval

FEWEST = 6
"""Videos below which nobody is called worse: by chance alone all of five fall on one side in one
case of sixteen."""


@dataclass(frozen=True)
class Comparison:
    """What changed from one result to the next.

    Attributes:
        worse: numbers that got worse beyond their paired interval, by name: the change.
        directions: which way each is better.
        notes: what could not be compared, as sentences.
    """

    worse: Mapping[str, Interval]
    directions: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What got worse, for people; "" when nothing did."""
        return "; ".join(
            f"{name} {gap.value:+.4g} ({gap.low:+.4g} to {gap.high:+.4g}), worse"
            for name, gap in self.worse.items()
        )


def comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compares two results of one benchmark, video by video.

    A number is worse when the 95 % interval of its paired difference lies on the wrong side of 0.
    Numbers without a direction are never worse.

    Args:
        before: a result, as ``evaluation.video_report.result`` gives it.
        after: a later one, on the same videos.
    """
    kind = [(r["benchmark"], r["manifest"]["hash"]) for r in (before, after)]
    if kind[0] != kind[1]:
        return Comparison({}, {}, (f"not compared: {kind[0]} and {kind[1]} are other videos",))
    directions = {**before["directions"], **after["directions"]}
    notes = [
        f"{name} is {'not measured any more' if name in before['values'] else 'new'}"
        for name in sorted(_known(before) ^ _known(after))
    ]
    lost = sorted(before["videos"].keys() - after["videos"].keys())
    if lost:
        notes.append(f"{len(lost)} videos were measured before and not now: {', '.join(lost[:5])}")
    common = before["videos"].keys() & after["videos"].keys()
    if len(common) < FEWEST:
        notes.append(f"only {len(common)} videos are in both: {FEWEST} are needed to call it worse")
        return Comparison({}, directions, tuple(notes))
    changes = differences(before, after)
    found = {n: g for n, g in changes.items() if verdict(g, directions.get(n)) == "worse"}
    return Comparison(found, directions, tuple(notes))


def _known(result: Mapping[str, Any]) -> set[str]:
    return {name for name, value in result["values"].items() if value is not None}
