"""Finished sets of shards, alone or with sidecars.

Fields may be added later as a sidecar: a set of its own with the same keys, read together with the
set it was made from. A list of sets reads like one set that holds all their fields.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.sample import SCHEMA, Sample, decode_field
from core.storage import Place, local
from core.tars import (
    MANIFEST,
    Manifest,
    ShardFile,
    manifest_of,
    members,
    read_shard,
    write_manifest,
    write_shard,
)

__all__ = [
    "MANIFEST",
    "ByKey",
    "Manifest",
    "ShardFile",
    "Shards",
    "field_names",
    "read_manifest",
    "read_samples",
    "read_shard",
    "spoken",
    "write_manifest",
    "write_shard",
]

log = logging.getLogger(__name__)

FREE_OF_CROP = ("info", "video", "sound", "speech", "viseme", "emotion", "identity")
"""Fields (by their first letters) that stay true when the face is cropped in another way."""

Shards = Place | Sequence[Place]
"""A finished set of shards, or such a set followed by its sidecars."""


def spoken(shards: Shards) -> str:
    """The place of a set, or those of a union, for messages."""
    return " + ".join(str(one) for one in shards) if isinstance(shards, Sequence) else str(shards)


def read_manifest(shards: Shards) -> Manifest:
    """The manifest of a folder of shards; of several, one that speaks for all of them.

    The latter's ``origin`` is what holds for the fields that are read, and its ``shards`` are the
    files of all sets.

    Raises:
        InputError: no manifest (never finished), another schema version, or sets that don't belong
            together.
    """
    sets = _sets(shards)
    first = sets[0].manifest
    if len(sets) == 1:
        return first
    origin = dict(first.origin)
    for other in sets[1:]:
        origin |= {k: v for k, v in other.manifest.origin.items() if k not in ("recipe", "of")}
    return Manifest(origin, [s for one in sets for s in one.manifest.shards], first.counts)


def read_samples(shards: Shards, fields: Sequence[str] | None = None) -> Iterator[Sample]:
    """All samples of a finished folder of shards, in the manifest's order.

    Of several folders, samples of one key are joined: a later set's fields replace earlier ones,
    and earlier fields that were made from a replaced one are left out. Samples that a sidecar
    dropped are left out.

    Args:
        shards: one set, or a set followed by its sidecars.
        fields: what to read besides ``info``; None is everything.

    Raises:
        InputError: as ``read_manifest``; or a damaged shard.
    """
    sets = _sets(shards)
    gone = {key for one in sets for key in one.manifest.dropped}
    if gone:
        log.warning("%d samples are left out: a sidecar dropped them", len(gone))
    streams = [
        (sample for sample in one.samples(fields) if sample["key"] not in gone) for one in sets
    ]
    for parts in zip(*streams, strict=True):
        if len({part["key"] for part in parts}) > 1:
            raise InputError(
                f"{sets[-1].folder} holds its samples in another order than {sets[0].folder}: "
                "make the sidecar again"
            )
        yield functools.reduce(_joined, parts)


def field_names(shards: Shards) -> Iterator[tuple[str, frozenset[str], Place]]:
    """Each sample's key, the names of its fields, and the set it lies in; decodes nothing.

    Raises:
        InputError: as ``read_samples``.
    """
    sets = _sets(shards)
    gone = {key for one in sets for key in one.manifest.dropped}
    added: dict[str, frozenset[str]] = {}
    for one in [*sets[1:], sets[0]]:  # the first set last, since the result is in its order
        for shard in one.manifest.shards:
            found: dict[str, set[str]] = {key: set() for key in shard.keys}
            for key, name, _, _ in members(one.file(shard)):
                found.setdefault(key, set()).add(name)
            for key, names in found.items():
                together = added.get(key, frozenset()) | (names - one.hidden)
                if one is not sets[0]:
                    added[key] = together
                elif key not in gone:
                    yield key, together, one.folder / shard.name


class ByKey:
    """Samples of finished shards by key, in any order; reads no more than what is asked for.

    Of each set the members of one tar are known at a time: go through keys in the shards' order.

    Args:
        shards: as ``read_samples``.
    """

    def __init__(self, shards: Shards) -> None:
        self._all = _sets(shards)
        self._lies = [{k: s for s in one.manifest.shards for k in s.keys} for one in self._all]
        self._known: dict[int, tuple[str, dict[str, dict[str, tuple[int, int]]]]] = {}
        gone = {key for one in self._all for key in one.manifest.dropped}
        self.keys = tuple(key for key in self._lies[0] if key not in gone)

    def names(self, key: str) -> frozenset[str]:
        """Names of a sample's fields."""
        found = [self._members(i, key).keys() - one.hidden for i, one in enumerate(self._all)]
        return frozenset[str]().union(*found)

    def read(self, key: str, fields: Sequence[str]) -> Sample:
        """A sample with ``info`` and ``fields``, as far as it has them."""
        parts: list[Sample] = []
        for i, one in enumerate(self._all):
            sample: Sample = {"key": key}
            members = self._members(i, key)
            wanted = [n for n in ("info", *fields) if n in members and n not in one.hidden]
            path = one.file(self._lies[i][key])
            with path.open("rb") as file:
                for name in wanted:
                    offset, count = members[name]
                    file.seek(offset)
                    sample[name] = decode_field(name, file.read(count))
            parts.append(sample)
        return functools.reduce(_joined, parts)

    def _members(self, i: int, key: str) -> dict[str, tuple[int, int]]:
        shard = self._lies[i][key]
        if i not in self._known or self._known[i][0] != shard.name:
            found: dict[str, dict[str, tuple[int, int]]] = {}
            for member, name, offset, count in members(self._all[i].file(shard)):
                found.setdefault(member, {})[name] = (offset, count)
            self._known[i] = (shard.name, found)
        return self._known[i][1].get(key, {})


def _joined(first: Sample, later: Sample) -> Sample:
    """Two samples of one key: later fields replace earlier ones, later facts are added.

    What the first set says of the clip stands: only a sidecar's facts are its own.
    """
    sample = {**first, **later}
    if "info" in first:
        facts = {**first["info"].get("facts", {}), **later.get("info", {}).get("facts", {})}
        sample["info"] = {**first["info"], "facts": facts} if facts else first["info"]
    return sample


@dataclass(frozen=True)
class _Set:
    """One set of a union; ``hidden`` fields are replaced or made untrue by later sets."""

    folder: Place
    manifest: Manifest
    hidden: frozenset[str] = frozenset()

    def file(self, shard: ShardFile) -> Path:
        return local(self.folder / shard.name, shard.sha256)

    def samples(self, fields: Sequence[str] | None) -> Iterator[Sample]:
        for shard in self.manifest.shards:
            yield from read_shard(self.file(shard), fields, self.hidden)


def _sets(shards: Shards) -> list[_Set]:
    """The sets of a union, checked to belong together."""
    folders = list(shards) if isinstance(shards, Sequence) else [shards]
    if not folders:
        raise InputError("no shards given: name a folder made by 'flashlips preprocess'")
    manifests = [manifest_of(folder) for folder in folders]
    for i in range(1, len(folders)):
        _belongs(folders, manifests, i)
    sets = []
    for i, (folder, manifest) in enumerate(zip(folders, manifests, strict=True)):
        later = {name for other in manifests[i + 1 :] for name in other.fields}
        sets.append(_Set(folder, manifest, frozenset(n for n in SCHEMA if _hidden(n, later))))
    return sets


def _belongs(folders: Sequence[Place], manifests: Sequence[Manifest], i: int) -> None:
    """Checks that set i may be joined to those before it."""
    folder, manifest, first = folders[i], manifests[i], manifests[0]
    known = {before.hash() for before in manifests[:i]}
    if not manifest.parents:
        raise InputError(f"{folder} is no sidecar of {folders[0]}: shards can't be joined by key")
    if not known.issuperset(manifest.parents):
        raise InputError(
            f"{folder} is a sidecar of other shards ({', '.join(manifest.parents)}) than those "
            f"given before it ({', '.join(sorted(known))}): name the ones it was made from, or "
            "make it again"
        )
    ours = {key for shard in manifest.shards for key in shard.keys}
    odd = {key for shard in first.shards for key in shard.keys} ^ (ours | {*manifest.dropped})
    if odd:
        raise InputError(
            f"{folder} and {folders[0]} differ in {len(odd)} keys, such as {min(odd)}: make the "
            "sidecar again"
        )


def _hidden(name: str, later: set[str]) -> bool:
    """Whether later sets replace a field, or replace what it was made from."""
    if name == "info":  # each set's own adds to the one before
        return False
    if name in later or ("crop" in later and not name.startswith(FREE_OF_CROP)):
        return True
    return "mask" in later and name.startswith("latent_masked")
