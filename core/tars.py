"""One set of shards on disk: WebDataset tars and a manifest, which is written last.

Where the manifest is, the set is complete. ``core.shards`` reads sets, and sets with sidecars.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.files import atomic, read_json, write_json
from core.sample import SCHEMA, SCHEMA_VERSION, Sample, decode_field, encode_field
from core.storage import Place

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ShardFile:
    """One tar: its name, its samples' keys, its size and hash."""

    name: str
    keys: tuple[str, ...]
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds and how its fields were made.

    Attributes:
        origin: for derived fields, how they were made: ``crop``, ``codec``, ``speech``, ``mask`` by
            name and hash; a stage compares it with what its nets expect.
        counts: clips by outcome and frames in total.
        parents: of a sidecar: hashes of the sets it was made from.
        fields: of a sidecar: what it adds or replaces.
        dropped: of a sidecar: keys of its parents that it has no sample for.
    """

    origin: Mapping[str, Any]
    shards: Sequence[ShardFile]
    counts: Mapping[str, int] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    parents: Sequence[str] = ()
    fields: Sequence[str] = ()
    dropped: Sequence[str] = ()

    def hash(self) -> str:
        """16 hex digits that name this data: equal contents, equal hash."""
        text = repr((self.schema_version, sorted(s.sha256 for s in self.shards)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_shard(path: Place, samples: Iterable[Sample]) -> ShardFile:
    """Writes samples into one tar: equal samples give equal bytes (no times, owners or chance)."""
    keys: list[str] = []
    with atomic(path) as part:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                keys.append(sample["key"])
                for name in SCHEMA:  # in the schema's order, so that bytes repeat
                    if name in sample:
                        data = encode_field(name, sample[name])
                        member = tarfile.TarInfo(f"{sample['key']}.{name}.{SCHEMA[name].codec}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        count = part.stat().st_size
    return ShardFile(path.name, tuple(keys), count, digest)


def write_manifest(folder: Place, manifest: Manifest) -> None:
    """Declares a folder of shards complete."""
    raw = asdict(manifest)
    for name in ("parents", "fields", "dropped"):  # only a sidecar has them
        if not raw[name]:
            del raw[name]
    write_json(folder / MANIFEST, raw)


def read_shard(
    path: Path,
    fields: Sequence[str] | None = None,
    without: frozenset[str] = frozenset(),
    raw: bool = False,
) -> Iterator[Sample]:
    """Samples of one tar, decoded.

    Args:
        path: of the tar.
        fields: what to read besides ``info``; None is everything.
        without: what not to read.
        raw: leave fields encoded, so that writing them again changes nothing.

    Raises:
        InputError: the tar is damaged.
    """
    wanted = None if fields is None else {*fields, "info"}
    sample: Sample = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, name, _ = member.name.split(".", 2)
                if sample and sample["key"] != key:
                    yield sample
                    sample = {}
                sample["key"] = key
                if name in SCHEMA and (wanted is None or name in wanted) and name not in without:
                    file = tar.extractfile(member)
                    assert file is not None, f"{member.name} is no file"
                    data = file.read()
                    sample[name] = data if raw else decode_field(name, data)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"can't read shard {path}: {error}; preprocess again") from error
    if sample:
        yield sample


def members(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """Key, field, and where in a tar its bytes lie: offset, length; decodes nothing.

    Raises:
        InputError: the tar is damaged.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, name, _ = member.name.split(".", 2)
                yield key, name, member.offset_data, member.size
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"can't read shard {path}: {error}; preprocess again") from error


def manifest_of(folder: Place) -> Manifest:
    """The manifest of one set.

    Raises:
        InputError: there is none (never finished), or it has another schema version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(
            f"{folder} holds no {MANIFEST}: run 'flashlips preprocess' to its end first"
        )
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}: "
            "preprocess the clips again"
        )
    shards = [
        ShardFile(s["name"], tuple(s["keys"]), s["bytes"], s["sha256"]) for s in raw["shards"]
    ]
    more = {name: tuple(raw.get(name, ())) for name in ("parents", "fields", "dropped")}
    return Manifest(raw["origin"], shards, raw["counts"], version, **more)
