"""Whose data is for what: a split by identity, computed from the speaker's name alone."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
VAL = 0.05
TEST = 0.05
"""Fractions of all speakers. Never change them, nor the hash: test speakers would be trained on."""


def split_of(speaker: str) -> Split:
    """The split of a speaker, the same for ever and in every data set that knows them by this name.

    Args:
        speaker: identity; names that differ in one letter are different people.
    """
    digest = hashlib.sha256(f"flashlips split:{speaker}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    if place < TEST:
        return "test"
    return "val" if place < TEST + VAL else "train"
