"""``data inspect``: what a set of shards holds and what became of its inputs, in numbers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.files import read_json
from core.sample import FPS
from core.shards import Shards, read_manifest, read_samples, spoken
from core.storage import Place
from preprocessing import ledger

BINS = 24
BLOCKS = " ▁▂▃▄▅▆▇█"
LABELS = 8
"""Different words of a fact that are worth a line; more of them are names."""
NAMES = ("sha256", "speaker")
"""Facts that name a sample, or stand in a line of their own."""


@dataclass(frozen=True)
class Histogram:
    """How a numeric fact is spread, over samples and over dropped inputs.

    Attributes:
        low, high: ends of the first and the last bin.
        kept, dropped: (BINS,) counts.
        middle: median over samples, or over dropped inputs where no sample has the fact.
    """

    low: float
    high: float
    kept: np.ndarray
    dropped: np.ndarray
    middle: float


@dataclass(frozen=True)
class Found:
    """What there is to say about shards.

    Attributes:
        name: where they lie.
        samples, frames, hours, megabytes: how much.
        speakers: samples by speaker, most first.
        splits: samples by split.
        origin: how fields were made.
        outcomes: inputs by outcome.
        reasons: why inputs were dropped, most first.
        facts: numeric facts by name.
        labels: other facts: samples by value.
        rows: the ledger. source: the data set's root, as far as it is known.
    """

    name: str
    samples: int
    frames: int
    hours: float
    megabytes: float
    speakers: Mapping[str, int]
    splits: Mapping[str, int]
    origin: Mapping[str, Any]
    outcomes: Mapping[str, int]
    reasons: Sequence[ledger.Reason]
    facts: Mapping[str, Histogram]
    labels: Mapping[str, Mapping[str, int]]
    rows: Sequence[Mapping[str, Any]]
    source: str


def look(shards: Shards) -> Found:
    """Reads manifest, ledger and every sample's info; decodes no media.

    Raises:
        InputError: no finished shards there.
    """
    manifest = read_manifest(shards)
    first = shards[0] if isinstance(shards, Sequence) else shards
    infos = [sample["info"] for sample in read_samples(shards, ())]
    rows, source = _ledger(first)
    kept, dropped = _by_fact([i.get("facts", {}) for i in infos]), _by_fact(_lost(rows))
    numbers = sorted(n for n in {*kept, *dropped} if _numeric([*kept[n], *dropped[n]]))
    frames = int(manifest.counts.get("frames", 0))
    return Found(
        name=spoken(shards),
        samples=len(infos),
        frames=frames,
        hours=frames / FPS / 3600,
        megabytes=sum(shard.bytes for shard in manifest.shards) / 1e6,
        speakers=_counted(infos, "speaker"),
        splits=_counted(infos, "split"),
        origin=manifest.origin,
        outcomes=dict(Counter(str(row["outcome"]) for row in rows).most_common()),
        reasons=ledger.reasons(rows),
        facts={name: _histogram(kept[name], dropped[name]) for name in numbers},
        labels=_labels({name: v for name, v in kept.items() if name not in numbers}),
        rows=rows,
        source=source,
    )


def _ledger(folder: Place) -> tuple[list[dict[str, Any]], str]:
    """The ledger's rows and the data set's root; none of both where nobody kept them."""
    rows = ledger.read(folder / ledger.LEDGER) if (folder / ledger.LEDGER).exists() else []
    summary = folder / ledger.SUMMARY
    return rows, str(read_json(summary).get("source", "")) if summary.exists() else ""


def _lost(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [json.loads(row["facts"]) for row in rows if row["outcome"] != "ok"]


def _by_fact(facts: Sequence[Mapping[str, Any]]) -> defaultdict[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for one in facts:
        for name, value in one.items():
            found[name].append(value)
    return found


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _counted(infos: Sequence[Mapping[str, Any]], name: str) -> dict[str, int]:
    return dict(Counter(str(info.get(name, "?")) for info in infos).most_common())


def _labels(facts: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, int]]:
    counted = {name: Counter(str(v) for v in values) for name, values in facts.items()}
    told = sorted(name for name, c in counted.items() if len(c) <= LABELS and name not in NAMES)
    return {name: dict(counted[name].most_common()) for name in told}


def _histogram(kept: Sequence[float], dropped: Sequence[float]) -> Histogram:
    a, b = (np.array([v for v in x if np.isfinite(v)], np.float64) for x in (kept, dropped))
    both = np.concatenate([a, b])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 0.0)
    span = (low, high if high > low else low + 1)
    shown = a if len(a) else b
    middle = float(np.median(shown)) if len(shown) else float("nan")
    counts = [np.histogram(x, BINS, span)[0] for x in (a, b)]
    return Histogram(low, high, counts[0], counts[1], middle)


def text(found: Found) -> str:
    """For a terminal."""
    lines = [
        f"{found.name}",
        f"  {found.samples} samples, {found.frames} frames, {found.hours:.3f} h, "
        f"{found.megabytes:.1f} MB, {len(found.speakers)} speakers",
        "  splits    " + _listed(found.splits),
        "  speakers  " + _listed(dict(list(found.speakers.items())[:LABELS])),
        "  made with " + ", ".join(f"{k} {v}" for k, v in found.origin.items()),
        "inputs      " + (_listed(found.outcomes) or "no ledger here"),
    ]
    for reason in found.reasons:
        lines.append(f"  {reason.count:6d}  {reason.outcome}: {_one_line(reason.why)}")
        lines += [f"          such as {_one_line(reason.example)}"] if reason.example else []
    lines += (
        ["facts of samples (of dropped inputs below, where there are any)"] if found.facts else []
    )
    for name, h in found.facts.items():
        lines.append(
            f"  {name:<14.14} {h.low:>9.4g} {_bars(h.kept)} {h.high:<9.4g} median {h.middle:.4g}"
        )
        if h.dropped.any():
            lines.append(f"  {'':<14} {'dropped':>9} {_bars(h.dropped)}")
    lines += [f"  {name:<14.14} {_listed(values)}" for name, values in found.labels.items()]
    return "\n".join(lines)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_one_line(name)} {count}" for name, count in counts.items())


def _one_line(words: str) -> str:
    """Names come from files: a control character in one must not reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in words)


def _bars(counts: np.ndarray) -> str:
    most = max(1, int(counts.max()))
    return "".join(BLOCKS[int(np.ceil(c / most * (len(BLOCKS) - 1)))] for c in counts)
