"""Ways to damage a file, seeded: the same random numbers give the same bytes.

Each takes the bytes of a whole file (at least a few hundred), a random generator and the bytes of
other whole files.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Mutation = Callable[[bytearray, random.Random, list[bytes]], bytearray]


def flipped(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    for _ in range(rng.choice([1, 4, 30, 300])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def cut(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    return data[: rng.randrange(1, len(data))]


def holed(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, 2000)]
    return data


def spliced(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    other = rng.choice(others)
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def bad_header(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    start = rng.randrange(64)
    data[start : start + 256] = rng.randbytes(256)
    return data


def bad_numbers(data: bytearray, rng: random.Random, others: list[bytes]) -> bytearray:
    """Extreme sizes, counts and times, near the start and near the end, where indexes lie."""
    for _ in range(rng.randrange(1, 12)):
        near = rng.randrange(min(3000, len(data) - 4))
        at = near if rng.random() < 0.5 else len(data) - 4 - near
        data[at : at + 4] = rng.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 4, b"\0\0\0\1"])
    return data


MUTATIONS: list[Mutation] = [flipped, cut, holed, spliced, bad_header, bad_numbers]
