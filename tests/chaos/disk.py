"""A disk that is really full: a small file system where this process may mount one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INJECT = """
import builtins, errno, io, os, pathlib, sys
small, flag = os.environ["FULL_DISK"], os.environ["FULL_DISK_FLAG"]
def full(path, writing):
    if writing and not isinstance(path, int) and os.path.exists(flag):
        if os.path.abspath(os.fspath(path)).startswith(small):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))
first, second = io.open, os.open
def opened(path, mode="r", *rest, **more):
    full(path, any(c in mode for c in "wax+"))
    return first(path, mode, *rest, **more)
def low(path, flags, *rest, **more):
    full(path, flags & (os.O_WRONLY | os.O_RDWR))
    return second(path, flags, *rest, **more)
io.open = builtins.open = opened
os.open = low
"""
"""Put into ``sitecustomize`` it refuses to open files below FULL_DISK while FULL_DISK_FLAG is
there."""


class Disk:
    """A folder that has ``free_kb`` left until ``grow`` is called.

    Attributes:
        folder: to write to.
        how: what was done, for the table.
        env: variables for the program that is to meet it.
    """

    def __init__(self, folder: Path, free_kb: int) -> None:
        self.folder, self._size_kb, self._free_kb = folder, free_kb + 4, free_kb
        self.env: dict[str, str] = {}
        folder.mkdir()
        self.mounted = self._mount(f"size={self._size_kb}k")
        self.how = f"tmpfs of {self._size_kb} kB" if self.mounted else "injected ENOSPC"
        self._flag = folder.with_suffix(".full")
        if not self.mounted:
            site = folder.with_suffix(".site")
            site.mkdir()
            (site / "sitecustomize.py").write_text(INJECT)
            self.env = {
                "FULL_DISK": str(folder), "FULL_DISK_FLAG": str(self._flag),
                "FULL_DISK_SITE": str(site),
            }  # fmt: skip

    def fill(self) -> None:
        """Without a file system of its own: from now on nothing can be written."""
        if not self.mounted:
            self._flag.touch()

    def grow(self) -> None:
        """Makes room."""
        if self.mounted:
            self._mount("remount,size=64m")
        else:
            self._flag.unlink(missing_ok=True)

    def _mount(self, options: str) -> bool:
        try:
            mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
            return subprocess.run(mount, capture_output=True).returncode == 0
        except OSError:
            return False

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, free_kb: int) -> Iterator[Disk]:
    """A disk with ``free_kb`` left; a mount is root's to make, so elsewhere ENOSPC is injected."""
    disk = Disk(folder, free_kb)
    try:
        yield disk
    finally:
        disk.close()
