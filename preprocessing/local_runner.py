"""The chain in a for loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from core.clip import Clip
from preprocessing.guard import Guard
from preprocessing.plan import Placed, Work


def run(clips: Iterable[Clip], chain: Sequence[Placed], folder: Path) -> Iterator[Work]:
    """Takes clips through the chain, one after another.

    Args:
        clips: as listed, with ids.
        chain: the steps.
        folder: where finished samples are written.

    Yields:
        Every finished part, its sample written, without fields.
    """
    with Guard(chain, folder) as guard:
        for clip in clips:
            yield from guard.do(Work(clip.id, clip))
