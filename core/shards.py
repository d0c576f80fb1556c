"""WebDataset tars of samples. The manifest is written last: where it is, the set is complete."""

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
    """

    origin: Mapping[str, Any]
    shards: Sequence[ShardFile]
    counts: Mapping[str, int] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def hash(self) -> str:
        """16 hex digits that name this data: equal contents, equal hash."""
        text = repr((self.schema_version, sorted(s.sha256 for s in self.shards)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_shard(path: Path, samples: Iterable[Sample]) -> ShardFile:
    """Writes samples into one tar: equal samples give equal bytes (no times, owners or chance)."""
    keys: list[str] = []
    with atomic(path) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            keys.append(sample["key"])
            for name in SCHEMA:  # in the schema's order, so that bytes repeat
                if name in sample:
                    data = encode_field(name, sample[name])
                    member = tarfile.TarInfo(f"{sample['key']}.{name}.{SCHEMA[name].codec}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ShardFile(path.name, tuple(keys), path.stat().st_size, digest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Declares a folder of shards complete."""
    write_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        InputError: no manifest (never finished), or another schema version.
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
    return Manifest(raw["origin"], shards, raw["counts"], version)


def read_shard(path: Path, fields: Sequence[str] | None = None) -> Iterator[Sample]:
    """Samples of one tar, decoded; only ``fields`` (and ``info``) when given.

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
                if name in SCHEMA and (wanted is None or name in wanted):
                    file = tar.extractfile(member)
                    assert file is not None, f"{member.name} is no file"
                    sample[name] = decode_field(name, file.read())
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"can't read shard {path}: {error}; preprocess again") from error
    if sample:
        yield sample


def read_samples(folder: Path, fields: Sequence[str] | None = None) -> Iterator[Sample]:
    """All samples of a finished folder of shards, in the manifest's order."""
    for shard in read_manifest(folder).shards:
        yield from read_shard(folder / shard.name, fields)
