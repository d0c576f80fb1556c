"""What became of every input: one row each, and the run in numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.clip import Clip, Drop
from core.files import atomic
from core.sample import FPS
from core.storage import Place
from preprocessing.plan import Work

LEDGER = "ledger.parquet"
SUMMARY = "summary.json"

Outcome = Literal["ok", "rejected", "duplicate", "missing", "failed"]


@dataclass(frozen=True)
class Row:
    """One input.

    Attributes:
        id, source, start_s, end_s: which; the source is relative to the data set's root.
        outcome: ok when at least one of its segments was kept; missing when its file is listed by
            the data set and not on disk.
        step, reason, value, threshold: why not, where the outcome is another one.
        segments, kept, frames: how many parts it had, how many were kept, their frames.
        dropped: the parts that were not kept, as a JSON list.
        facts: what was noted about the input and its first part, as a JSON object.
    """

    id: str
    source: str
    start_s: float | None
    end_s: float | None
    outcome: Outcome
    step: str
    reason: str
    value: float | None
    threshold: float | None
    segments: int
    kept: int
    frames: int
    speaker: str
    dropped: str
    facts: str


def row(clip: Clip, source: str, parts: Sequence[Work]) -> Row:
    """The row of an input.

    Args:
        clip: as listed.
        source: its path relative to the root.
        parts: all finished parts of it.
    """
    dropped = [part.clip for part in parts if part.clip.drop]
    kept = [part.clip for part in parts if not part.clip.drop]
    drop = dropped[0].drop if dropped and not kept else None
    shown = drop or Drop("", "failed", "")
    first = (kept or dropped)[0]
    return Row(
        id=clip.id,
        source=source,
        start_s=None if clip.span_s is None else clip.span_s[0],
        end_s=None if clip.span_s is None else clip.span_s[1],
        outcome="ok" if drop is None else drop.kind,
        step=shown.step,
        reason=shown.reason,
        value=None if shown.value is None else float(shown.value),
        threshold=None if shown.threshold is None else float(shown.threshold),
        segments=len(parts),
        kept=len(kept),
        frames=sum(int(c.facts.get("frames", 0)) for c in kept),
        speaker=str(clip.facts.get("speaker", "")),
        dropped=json.dumps([_part(c) for c in dropped] if len(parts) > 1 else []),
        facts=json.dumps(dict(first.facts), sort_keys=True),
    )


def _part(clip: Clip) -> dict[str, Any]:
    assert clip.drop is not None
    return {"span_s": clip.span_s, **asdict(clip.drop)}


def write(path: Place, rows: Iterable[Row]) -> None:
    """Writes the ledger as Parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, count = pa.string(), pa.float64(), pa.int64()
    types = {"str": text, "Outcome": text, "float | None": number, "int": count}
    annotated = Row.__annotations__
    schema = pa.schema([(name, types[kind]) for name, kind in annotated.items()])
    with atomic(path) as part:
        pq.write_table(pa.Table.from_pylist([asdict(r) for r in rows], schema=schema), part)


def read(path: Place) -> list[dict[str, Any]]:
    """Rows of a ledger as dicts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return list(pq.read_table(pa.BufferReader(path.read_bytes())).to_pylist())


def summary(rows: Sequence[Row], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The run in numbers.

    Args:
        rows: of all inputs.
        seconds: time spent by step, over all workers and runs.
    """
    frames, spent = sum(r.frames for r in rows), sum(seconds.values())
    reasons = Counter(why(asdict(r)) for r in rows if r.outcome != "ok")
    lost = Counter(why({**d, "outcome": d["kind"]}) for r in rows for d in json.loads(r.dropped))
    return {
        "inputs": len(rows),
        "outcomes": dict(Counter(r.outcome for r in rows)),
        "missing": sum(r.outcome == "missing" for r in rows),
        "reasons": dict(sorted(reasons.items())),
        "segments": {"kept": sum(r.kept for r in rows), "dropped": dict(sorted(lost.items()))},
        "frames": frames,
        "hours": round(frames / FPS / 3600, 4),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "frames_per_worker_second": round(frames / spent, 2) if spent else 0.0,
    }


@dataclass(frozen=True)
class Reason:
    """Why inputs, or parts of kept ones, were dropped.

    Attributes:
        outcome: of the inputs; ``part`` for parts of kept ones.
        why: step and reason. count: how many.
        example: the whole sentence about one of them, where ``why`` is cut; "" elsewhere.
    """

    outcome: str
    why: str
    count: int
    example: str


def reasons(rows: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """What a ledger's rows say of dropped inputs and parts, most frequent first."""
    found: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row in rows:
        kept = row["outcome"] == "ok"
        parts = [{**part, "outcome": part["kind"]} for part in json.loads(row["dropped"])]
        for drop in parts if kept else [row]:
            key = "part" if kept else str(row["outcome"]), why(drop)
            found[key] += 1
            whole = str(drop["reason"])
            examples.setdefault(key, "" if key[1].endswith(whole) else whole)
    return [Reason(*key, count, examples[key]) for key, count in found.most_common()]


def why(drop: Mapping[str, Any]) -> str:
    """A reason that can be counted: sentences about one file are cut to their kind."""
    if drop["outcome"] == "duplicate":
        return "duplicate"
    reason = str(drop["reason"])
    if drop["outcome"] == "failed":
        reason = reason.partition(":")[0]
    return f"{drop['step']}: {reason}"
