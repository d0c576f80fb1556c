"""Where files lie: a local folder, or a prefix of a bucket behind an S3 address.

A ``Remote`` answers to the few words of ``Path`` that shards, manifests and ledgers need, so that
readers and writers know one kind of place. What is written appears whole, under its final name, or
not at all: an S3 object is visible once its upload is complete.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core.errors import InputError

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEME = "s3://"
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE)
"""Troubles of this machine: waiting for the server would not mend them."""


@dataclass(frozen=True)
class S3:
    """How a bucket is reached. Credentials come from the usual AWS variables.

    Attributes:
        endpoint: address of the server; "" is Amazon's own.
        patience_s: how long a server that does not answer is waited for.
        work: local folder of unfinished runs and, in ``cache``, of copies of shards. The cache may
            be deleted at any time; on Ray every node must reach the folder.
        cache_gb: the copies used longest ago are let go beyond this.
    """

    endpoint: str = ""
    patience_s: float = 120.0
    work: Path = Path("runs/work")
    cache_gb: float = 50.0

    @property
    def cache(self) -> Path:
        """Where copies of shards lie."""
        return self.work / "cache"


@dataclass(frozen=True)
class Remote:
    """An object, or the prefix that objects share.

    Attributes:
        url: ``s3://bucket/prefix``, without a slash at its end.
        server: how it is reached.
    """

    url: str
    server: S3 = field(default=S3(), repr=False)

    def __post_init__(self) -> None:
        bucket = self.url.removeprefix(SCHEME).partition("/")[0]
        if not self.url.startswith(SCHEME) or not bucket:
            raise InputError(f"{self.url!r} names no bucket: it must read s3://bucket/prefix")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}", self.server)

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.url.rpartition("/")[2]

    def exists(self) -> bool:
        """Whether there is an object of this very name."""
        return self.size() is not None

    def size(self) -> int | None:
        """Bytes of the object, or None when there is none."""
        try:
            found = _tried(self, lambda s3: s3.info(self.url, refresh=True))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def read_bytes(self) -> bytes:
        """The object.

        Raises:
            FileNotFoundError: there is none.
        """
        data: bytes = _tried(self, lambda s3: s3.cat_file(self.url))
        return data

    def read_text(self) -> str:
        """The object as UTF-8."""
        return self.read_bytes().decode()

    def names(self) -> list[str]:
        """Names of the objects directly below this prefix, sorted."""
        try:
            found = _tried(self, lambda s3: s3.ls(self.url, detail=True, refresh=True))
        except FileNotFoundError:
            return []
        return sorted(f["name"].rpartition("/")[2] for f in found if f["type"] == "file")

    def folders(self) -> list[str]:
        """Names of the prefixes directly below this one, sorted."""
        try:
            found = _tried(self, lambda s3: s3.ls(self.url, detail=True, refresh=True))
        except FileNotFoundError:
            return []
        return sorted(f["name"].rpartition("/")[2] for f in found if f["type"] == "directory")

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object."""
        try:
            _tried(self, lambda s3: s3.rm_file(self.url))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def upload(self, path: Path) -> None:
        """Puts a file here: it is seen complete or not at all.

        Raises:
            InputError: no such bucket, or the server takes nothing.
        """
        try:
            _tried(self, lambda s3: s3.put_file(str(path), self.url))
        except FileNotFoundError as error:
            bucket = self.url.removeprefix(SCHEME).partition("/")[0]
            raise InputError(f"no bucket {bucket} for {self.url}: make it first") from error

    def download(self, path: Path) -> None:
        """Writes the object's bytes to ``path``."""
        _tried(self, lambda s3: s3.get_file(self.url, str(path)))


Place = Path | Remote


def place(text: str | Path, server: S3) -> Place:
    """A folder or a prefix from what a person wrote.

    Raises:
        InputError: an address of another kind than ``s3://``.
    """
    if isinstance(text, Path):
        return text
    if text.startswith(SCHEME):
        return Remote(text, server)
    if "://" in text:
        raise InputError(f"{text!r} is neither a folder nor an address s3://bucket/prefix")
    return Path(text)


def absolute(where: Place) -> Place:
    """The same place, however the process moves about."""
    return where if isinstance(where, Remote) else where.expanduser().resolve()


def names(folder: Place) -> list[str]:
    """Names of the files directly below a folder, sorted; none when it is not there."""
    if isinstance(folder, Remote):
        return folder.names()
    return sorted(p.name for p in folder.glob("*") if p.is_file())


def folders(folder: Place) -> list[str]:
    """Names of the folders directly below a folder, sorted; none when it is not there."""
    if isinstance(folder, Remote):
        return folder.folders()
    return sorted(p.name for p in folder.glob("*") if p.is_dir())


def size(file: Place) -> int | None:
    """Bytes of a file, or None when there is none."""
    if isinstance(file, Remote):
        return file.size()
    return file.stat().st_size if file.is_file() else None


def local(file: Place, sha256: str) -> Path:
    """A local file with these bytes: the file itself, or a copy kept in the server's ``cache``.

    Args:
        file: what to read.
        sha256: of its bytes; a copy is known by it and checked against it.

    Raises:
        InputError: the object is missing, or its bytes are others.
    """
    if isinstance(file, Path):
        return file
    folder = file.server.cache
    copy = folder / f"{sha256}.tar"
    if copy.exists():
        with contextlib.suppress(OSError):
            os.utime(copy)
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{sha256}.{os.getpid()}.part"
    try:
        file.download(part)
        with part.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != sha256:
            raise InputError(f"{file} is damaged or was replaced: preprocess again")
        part.replace(copy)
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing: preprocess again") from error
    finally:
        part.unlink(missing_ok=True)
    _evict(folder, file.server.cache_gb * 1e9, copy)
    return copy


def _evict(folder: Path, limit: float, fresh: Path) -> None:
    """Deletes copies, those used longest ago first, until the rest is below ``limit`` bytes."""
    aged: list[tuple[float, int, Path]] = []
    for path in folder.glob("*.tar"):
        with contextlib.suppress(OSError):  # another process may be tidying too
            stat = path.stat()
            aged.append((stat.st_mtime, stat.st_size, path))
    total = sum(count for _, count, _ in aged)
    for _, count, path in sorted(aged):
        if total <= limit:
            return
        if path != fresh:
            path.unlink(missing_ok=True)
            total -= count


@contextmanager
def uploading(target: Remote) -> Iterator[Path]:
    """Gives a temporary local path to write to; its bytes are uploaded when the block ends well."""
    folder = target.server.cache
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"can't write {folder}: {error.strerror}; name another FLASHLIPS_WORK"
        ) from error
    with tempfile.TemporaryDirectory(prefix="upload-", dir=folder) as temporary:
        part = Path(temporary) / target.name
        part.touch()
        yield part
        target.upload(part)


# -- the server -------------------------------------------------------------------------------


@functools.cache
def _filesystem(endpoint: str, pid: int) -> Any:
    """One connection pool a process: a pool that was forked is of no use to the child."""
    import s3fs

    made = s3fs.S3FileSystem(
        endpoint_url=endpoint or None,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={
            # Ours is the loop that waits. Old servers know none of the new checksums.
            "retries": {"max_attempts": 1},
            "connect_timeout": 10,
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )
    made.loop.set_exception_handler(_overheard)
    return made


def _overheard(loop: Any, context: dict[str, Any]) -> None:
    """Passes on what a task of the pool raised, but not the wire's: ``_tried`` hears of those."""
    if not isinstance(context.get("exception"), (OSError, *_network_errors())):
        loop.default_exception_handler(context)


def _tried(target: Remote, call: Callable[[Any], T]) -> T:
    """``call`` on the server, again and again with growing pauses while it does not answer.

    Raises:
        FileNotFoundError: no such object.
        InputError: it refuses us, or it stays away longer than ``patience_s``.
    """
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    server = target.server
    at = server.endpoint or "Amazon S3"
    trouble: tuple[type[Exception], ...] = (OSError, BotoCoreError, *_network_errors())
    end, pause = time.monotonic() + server.patience_s, FIRST_PAUSE_S
    while True:
        try:
            return call(_filesystem(server.endpoint, os.getpid()))
        except FileNotFoundError:
            raise
        except (PermissionError, NoCredentialsError) as error:
            raise InputError(
                f"{at} refuses {target} ({error}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                "to a key that may use it"
            ) from error
        except trouble as error:
            if isinstance(error, OSError) and error.errno in OUR_DISK:
                raise
            if time.monotonic() + pause > end:
                raise InputError(
                    f"can't reach {target} at {at} for {server.patience_s:.0f} s "
                    f"({type(error).__name__}: {error}): start the server or correct "
                    "FLASHLIPS_S3_ENDPOINT, then run again"
                ) from error
            log.warning("%s: %s; trying again", target, error)
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_S, 2 * pause)


def _network_errors() -> tuple[type[Exception], ...]:
    import aiohttp
    from botocore.exceptions import ClientError

    return (aiohttp.ClientError, ClientError)
