"""Rows of edited videos -> numbers with intervals, and how two systems differ.

Rows from several workers, in any order, give what one pass gives: everything is made from rows
sorted by their pair's name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.errors import InputError
from evaluation.stats import Interval, mean_interval, paired_difference
from evaluation.videos import VideoMetric

Observed = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """What was measured of one system.

    Attributes:
        metrics: by name.
        rows: (metric, pair) -> observed values.
        failures: pair -> why it was not measured; (metric, pair) ones under ``pair.metric``.
        pairs: names of all pairs of the benchmark.
    """

    metrics: Mapping[str, VideoMetric]
    rows: Mapping[tuple[str, str], Observed] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()

    def merged(self, *others: Scores) -> Scores:
        """These and others as if measured in one pass."""
        rows, failures = dict(self.rows), dict(self.failures)
        metrics, pairs = dict(self.metrics), set(self.pairs)
        for other in others:
            rows.update(other.rows)
            failures.update(other.failures)
            metrics.update(other.metrics)
            pairs.update(other.pairs)
        return Scores(metrics, rows, failures, tuple(sorted(pairs)))

    @property
    def measured(self) -> int:
        """How many pairs have a row."""
        return len({pair for _, pair in self.rows})

    @property
    def complete(self) -> bool:
        """Whether every pair was measured by every metric that says something about it."""
        return bool(self.pairs) and not self.failures and self.measured == len(self.pairs)

    def of(self, metric: str) -> dict[str, Observed]:
        """Rows of one metric by pair, sorted."""
        return {pair: self.rows[m, pair] for m, pair in sorted(self.rows) if m == metric}

    def only(self, pairs: Collection[str]) -> Scores:
        """What was measured on some of the pairs."""
        rows = {key: row for key, row in self.rows.items() if key[1] in pairs}
        failed = {k: why for k, why in self.failures.items() if k.partition(".")[0] in pairs}
        return Scores(self.metrics, rows, failed, tuple(p for p in self.pairs if p in pairs))

    def values(self) -> dict[str, float]:
        """All numbers, over all videos."""
        numbers: dict[str, float] = {}
        for name in sorted(self.metrics):
            rows = list(self.of(name).values())
            if rows:
                numbers |= self.metrics[name].reduce(rows)
        return numbers

    def notes(self) -> dict[str, str]:
        """What metrics of whole sets (``pooled``) say beside their numbers, where they do."""
        found: dict[str, str] = {}
        for name, metric in sorted(self.metrics.items()):
            rows = list(self.of(name).values())
            said = getattr(metric, "note", None)
            if rows and said is not None and said(rows):
                found[name] = said(rows)
        return found

    def by_video(self) -> dict[str, dict[str, float]]:
        """Each video's own numbers, by pair; metrics of whole sets (``pooled``) have none."""
        found: dict[str, dict[str, float]] = {}
        for name in sorted(self.metrics):
            if getattr(self.metrics[name], "pooled", False):
                continue
            for pair, row in self.of(name).items():
                found.setdefault(pair, {}).update(self.metrics[name].reduce([row]))
        return found

    def intervals(self) -> dict[str, Interval]:
        """Mean over videos with its 95 % interval: videos are drawn, for they are what varies."""
        columns: dict[str, list[float]] = {}
        for numbers in self.by_video().values():
            for name, value in numbers.items():
                columns.setdefault(name, []).append(value)
        return {name: mean_interval(np.array(v), block=1) for name, v in sorted(columns.items())}


def difference(ours: Scores, theirs: Scores, number: str) -> Interval:
    """``ours`` minus ``theirs`` on the same videos, with a paired 95 % interval.

    Raises:
        InputError: they have no video in common.
    """
    a, b = ours.by_video(), theirs.by_video()
    both = sorted(p for p in a.keys() & b.keys() if number in a[p] and number in b[p])
    if not both:
        raise InputError(f"no video was measured for {number} in both; evaluate both on one folder")
    left, right = (np.array([side[p][number] for p in both]) for side in (a, b))
    return paired_difference(left, right, block=1)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as JSON holds them: no NaN, six digits."""
    return {
        k: None if isinstance(v, float) and not np.isfinite(v) else round(float(v), 6)
        for k, v in values.items()
    }


def ranked(ours: Scores, theirs: Sequence[Scores], number: str, better: str) -> list[bool]:
    """Whether ``ours`` is really better than each of the others in one number."""
    sign = 1 if better == "higher" else -1
    found = [difference(ours, other, number) for other in theirs]
    return [gap.low > 0 if sign > 0 else gap.high < 0 for gap in found]
