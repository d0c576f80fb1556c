"""Clip: the one noun of the data path. Steps take clips and give clips, nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Fact = float | int | str | bool


@dataclass(frozen=True)
class Drop:
    """Why a clip went no further.

    ``rejected`` is data (a filter said no: ``value`` against ``threshold``), ``duplicate`` names
    the clip it repeats in ``reason``, ``missing`` is a file that the data set lists and that is not
    on disk, ``failed`` is an exception caught for this one clip.
    """

    step: str
    kind: Literal["rejected", "duplicate", "missing", "failed"]
    reason: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Clip:
    """A span of a video file on its way to becoming a training sample.

    Attributes:
        id: content id, ``content_id(bytes hash, span)``: the same tomorrow, on another node.
        source: path of the file, as given; opened read-only, never changed.
        span_s: (start, end) in seconds within the file, or None for all of it.
        fields: large values by name (frames, sound, masks); see ``core.sample.SCHEMA``.
        facts: small values by name (fps, sharpness, speaker); these land in the ledger.
        drop: set once the clip was rejected, found a duplicate, or failed.
    """

    id: str
    source: str
    span_s: tuple[float, float] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    drop: Drop | None = None

    @property
    def speaker(self) -> str:
        """Who speaks: the fact ``speaker``, or the file's stem."""
        return str(self.facts.get("speaker", Path(self.source).stem))

    @property
    def content(self) -> str:
        """What its id is made from beside the span: a hash of all that it is read from."""
        return str(self.facts["content"] if "content" in self.facts else self.facts["sha256"])

    def having(self, **fields: Any) -> Clip:
        """This clip with some fields added or replaced (None removes one)."""
        merged = {**self.fields, **fields}
        return replace(self, fields={k: v for k, v in merged.items() if v is not None})

    def noting(self, **facts: Fact) -> Clip:
        """This clip with some facts added or replaced."""
        return replace(self, facts={**self.facts, **facts})

    def rejected(
        self, step: str, reason: str, value: float | None = None, threshold: float | None = None
    ) -> Clip:
        """This clip, dropped by a filter; its fields are let go."""
        return replace(self, fields={}, drop=Drop(step, "rejected", reason, value, threshold))

    def failed(self, step: str, error: Exception) -> Clip:
        """This clip, dropped because ``step`` raised ``error``."""
        reason = f"{type(error).__name__}: {error}"
        return replace(self, fields={}, drop=Drop(step, "failed", reason))

    def duplicate(self, of: str) -> Clip:
        """This clip, dropped because the file ``of`` has the same bytes."""
        return replace(self, fields={}, drop=Drop("discover", "duplicate", of))

    def missing(self, what: str) -> Clip:
        """This clip, dropped because ``what`` of it (video, sound) is not on disk."""
        return replace(self, fields={}, drop=Drop("discover", "missing", f"{what} not on disk"))


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_id(file_hash: str, span_s: tuple[float, float] | None = None) -> str:
    """A clip's id: 16 hex digits from the file's hash and the span, never position or chance."""
    span = "all" if span_s is None else f"{span_s[0]:.3f}-{span_s[1]:.3f}"
    return hashlib.sha256(f"{file_hash}:{span}".encode()).hexdigest()[:16]
