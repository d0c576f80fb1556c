"""Cases and metrics -> rows -> numbers with intervals. Merging partial results changes nothing."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.contracts import Case, Metric
from core.errors import InputError
from evaluation.stats import BLOCK, DRAWS, Interval, bootstrap

logger = logging.getLogger(__name__)

Observed = Mapping[str, np.ndarray]
Progress = Callable[[str, int, int], None]
"""Called with what was done, how many are done, and of how many (0 when not known)."""

RowKey = tuple[str, str, str, str]
"""(clip or corpus, system, metric, hash of the truth): names a row, whoever measured it."""


def clean(name: str) -> str:
    """A clip's or system's name as a part of a report key: dots would split it."""
    return name.replace(".", "_")


def truth_id(case: Case) -> str:
    """16 hex digits of what a case is compared with: equal for all systems on the same frames."""
    digest = hashlib.sha256(np.ascontiguousarray(case.truth).tobytes())
    digest.update(np.ascontiguousarray(case.mouth_box, dtype=np.int64).tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Results:
    """What was measured, frame by frame, and the numbers made of it.

    Attributes:
        metrics: by name; their ``reduce`` makes the numbers.
        rows: observed values by ``RowKey``. Sorted keys fix the order of every sum, so numbers do
            not depend on who measured which case when.
    """

    metrics: Mapping[str, Metric]
    rows: Mapping[RowKey, Observed] = field(default_factory=dict)

    def merged(self, *others: Results) -> Results:
        """These results and others as if measured in one pass; a row measured twice counts once."""
        rows = dict(self.rows)
        metrics = dict(self.metrics)
        for other in others:
            rows.update(other.rows)
            metrics.update(other.metrics)
        return Results(metrics, rows)

    def of(self, name: str, system: str, metric: str) -> dict[str, Observed]:
        """Rows of one metric by truth id, sorted."""
        wanted = (clean(name), clean(system), metric)
        return {key[3]: self.rows[key] for key in sorted(self.rows) if key[:3] == wanted}

    def groups(self) -> list[tuple[str, str]]:
        """(clip or corpus, system), sorted."""
        return sorted({key[:2] for key in self.rows})

    def values(self) -> dict[str, float]:
        """Numbers by ``<clip or corpus>.<system or baseline>.<number>``."""
        numbers: dict[str, float] = {}
        for name, system in self.groups():
            for metric in sorted(self.metrics):
                rows = self.of(name, system, metric)
                if rows:
                    found = self.metrics[metric].reduce(list(rows.values()))
                    numbers |= {f"{name}.{system}.{key}": value for key, value in found.items()}
        return numbers

    def intervals(self, draws: int = DRAWS, block: int = BLOCK) -> dict[str, tuple[float, float]]:
        """95 % block-bootstrap interval of each of ``values``, by the same keys."""
        ends: dict[str, tuple[float, float]] = {}
        for name, system in self.groups():
            for metric in sorted(self.metrics):
                rows = list(self.of(name, system, metric).values())
                if rows:
                    names, low, high = _interval(self.metrics[metric], rows, draws, block)
                    for key, a, b in zip(names, low, high, strict=True):
                        ends[f"{name}.{system}.{key}"] = (float(a), float(b))
        return ends

    def difference(
        self, name: str, ours: str, theirs: str, metric: str, number: str = "", draws: int = DRAWS
    ) -> Interval:
        """``ours`` minus ``theirs`` on the same frames, with a paired interval.

        Args:
            name: clip or corpus.
            ours: a system.
            theirs: a system or baseline.
            metric: a metric's name.
            number: which of its numbers; by default of the same name.
            draws: bootstrap draws; both systems are drawn at the same frames.

        Raises:
            InputError: the two were not measured on the same frames.
        """
        a, b = self.of(name, ours, metric), self.of(name, theirs, metric)
        if not a or a.keys() != b.keys():
            raise InputError(
                f"{name}: {ours} and {theirs} were not measured by {metric} on the same frames; "
                "evaluate both on the same clips"
            )
        number = number or metric
        reduce = self.metrics[metric].reduce
        rows_a, rows_b = list(a.values()), list(b.values())

        def gap(drawn: list[np.ndarray]) -> np.ndarray:
            return np.array(
                [reduce(_drawn(rows_a, drawn))[number] - reduce(_drawn(rows_b, drawn))[number]]
            )

        low, high = bootstrap([_frames(row) for row in rows_a], gap, BLOCK, draws)
        value = reduce(rows_a)[number] - reduce(rows_b)[number]
        return Interval(float(value), float(low[0]), float(high[0]))


def _frames(row: Observed) -> int:
    return len(next(iter(row.values())))


def _drawn(rows: Sequence[Observed], drawn: list[np.ndarray]) -> list[Observed]:
    return [{key: value[d[1]] for key, value in rows[d[0, 0]].items()} for d in drawn]


def _interval(
    metric: Metric, rows: Sequence[Observed], draws: int, block: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    names = sorted(metric.reduce(rows))

    def numbers(drawn: list[np.ndarray]) -> np.ndarray:
        found = metric.reduce(_drawn(rows, drawn))
        return np.array([found[name] for name in names])

    return names, *bootstrap([_frames(row) for row in rows], numbers, block, draws)


def check(case: Case) -> None:
    """Refuses a case whose parts don't fit.

    Raises:
        InputError: output and truth differ in length or size, or the case is empty.
    """
    if case.output.shape != case.truth.shape or case.output.ndim != 4 or not len(case.output):
        raise InputError(
            f"{case.name}.{case.system}: output {case.output.shape} and truth {case.truth.shape} "
            "must be equal, not empty, (T,S,S,3); render as many frames as are held out"
        )
    lengths = {len(case.mouth_box), len(case.landmarks), len(case.asked), len(case.output)}
    if len(lengths) > 1:
        raise InputError(
            f"{case.name}.{case.system}: {len(case.output)} frames but boxes, landmarks, asked are "
            f"{len(case.mouth_box)}, {len(case.landmarks)}, {len(case.asked)}; give one for each"
        )


def evaluate(
    cases: Iterable[Case], metrics: Sequence[Metric], progress: Progress | None = None
) -> Results:
    """Measures each case by each metric.

    Args:
        cases: consumed one at a time, so they may be rendered on the way.
        metrics: see ``evaluation.metrics.standard``.
        progress: told after each case.

    Raises:
        InputError: a case whose parts don't fit, see ``check``.
    """
    rows: dict[RowKey, Observed] = {}
    for done, case in enumerate(cases, 1):
        check(case)
        part = truth_id(case)
        for metric in metrics:
            key = (clean(case.name), clean(case.system), metric.name, part)
            rows[key] = dict(metric.observe(case))
        logger.debug("measured %s.%s", case.name, case.system)
        if progress is not None:
            progress(f"{case.name}.{case.system}", done, 0)
    return Results({metric.name: metric for metric in metrics}, rows)
