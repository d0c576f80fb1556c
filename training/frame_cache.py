"""Shards unpacked for reading: one flat file a field, mapped into memory, frames in a row.

A tar holds a segment's array as one block, often compressed, so one frame costs the whole segment.
Unpacked, a frame costs its own bytes; what was read lately stays in the system's page cache, which
all workers share, and data may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.errors import InputError
from core.files import atomic, read_json, write_json
from core.shards import ByKey, Shards, read_manifest, read_samples, spoken


class FrameCache:
    """Per-frame fields of shards, unpacked below ``folder`` once for all runs.

    Segments of a clip follow each other in time in every file, so a whole clip is one slice.

    Args:
        shards: a set, or a set and its sidecars.
        fields: which to unpack; each must be an array with a row for every frame.
        folder: of all caches; this one lies in a folder named by the shards' hash.

    Raises:
        InputError: a sample lacks a field, or the disk won't take it.
    """

    def __init__(self, shards: Shards, fields: Sequence[str], folder: Path) -> None:
        self._shards, self._folder = shards, folder / read_manifest(shards).hash()
        self._maps: dict[str, np.ndarray] = {}
        self.rows: Mapping[str, tuple[int, int]] = {}
        for name in fields:
            if not self._table(name).exists():
                self._unpack(name)
            table = read_json(self._table(name))
            rows = {key: (start, stop) for key, start, stop in table["rows"]}
            if self.rows and rows != self.rows:
                odd = min(k for k in rows if rows[k] != self.rows.get(k))
                raise InputError(
                    f"sample {odd} in {spoken(shards)} has fields of unequal length: preprocess "
                    "again"
                )
            self.rows = rows
            shape = (sum(b - a for a, b in rows.values()), *table["shape"])
            # Copy on write: nothing reaches the file, and torch takes no read-only arrays.
            mapped = np.memmap(self._data(name), np.dtype(table["dtype"]), "c", shape=shape)
            self._maps[name] = np.asarray(mapped)

    def sample(self, key: str) -> dict[str, np.ndarray]:
        """The fields of one sample, each (T, ...), not yet read."""
        return self.between(key, key)

    def between(self, first: str, last: str) -> dict[str, np.ndarray]:
        """The fields of a clip from its segment ``first`` to its segment ``last``, in one piece."""
        start, stop = self.rows[first][0], self.rows[last][1]
        return {name: mapped[start:stop] for name, mapped in self._maps.items()}

    def _table(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _data(self, name: str) -> Path:
        return self._folder / f"{name}.bin"

    def _unpack(self, name: str) -> None:
        """Writes a field's frames and then, last, the table of where each sample lies."""
        order = []
        for sample in read_samples(self._shards, ()):
            info = sample["info"]
            order.append((str(info["clip"]), int(info["first_frame"]), sample["key"]))
        samples, at = ByKey(self._shards), 0
        rows: list[tuple[str, int, int]] = []
        kind: tuple[str, list[int]] | None = None
        try:
            with atomic(self._data(name)) as part, part.open("wb") as file:
                for _, _, key in sorted(order):
                    array = samples.read(key, (name,)).get(name)
                    if not isinstance(array, np.ndarray):
                        raise InputError(
                            f"sample {key} in {spoken(self._shards)} has no {name}: preprocess "
                            "again with a recipe that adds it"
                        )
                    found = (array.dtype.str, list(array.shape[1:]))
                    kind = kind or found
                    if found != kind:
                        raise InputError(
                            f"{name} of sample {key} in {spoken(self._shards)} is {found}, of "
                            f"others {kind}: preprocess again"
                        )
                    file.write(np.ascontiguousarray(array).data)
                    rows.append((key, at, at + len(array)))
                    at += len(array)
        except OSError as error:
            raise InputError(
                f"can't unpack {name} to {self._folder}: {error.strerror}; make room, or name "
                "another FLASHLIPS_FRAME_CACHE"
            ) from error
        assert kind is not None, "no samples"
        write_json(self._table(name), {"dtype": kind[0], "shape": kind[1], "rows": rows})
