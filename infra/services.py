"""Services on this machine: processes with a port, a health check and a log in one folder.

Each is started and ended by its own process id, never by name: other people's servers stay.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from core.errors import InputError
from core.files import read_json, write_json

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Service:
    """What to run.

    Attributes:
        name: of the service and its files.
        command: program and arguments; no shell sees them.
        port: where it listens; 0 for one that listens nowhere.
        environment: variables besides this process's own.
        health: path that answers 200 once it is up; "" takes an open port for up.
        answers: another way to see that it is up, in place of ``health``; told when it was started,
            in seconds since 1970.
        user: who runs it, where this process may choose; "" is whoever runs this.
        patience_s: how long it may take to come up.
        polite_s: how long it may take to end before it is killed.
        address: what a person opens, "" for none.
    """

    name: str
    command: tuple[str, ...]
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    health: str = ""
    answers: Callable[[float], bool] | None = None
    user: str = ""
    patience_s: float = 180.0
    polite_s: float = 20.0
    address: str = ""


class _Note(NamedTuple):
    """What is known of a started process; zeros when none was.

    Attributes:
        pid: its number. began: when, as the system has it, by which it is known again.
        polite_s: of its service. since: when it was asked to start. All in seconds since 1970.
    """

    pid: int = 0
    began: float = 0.0
    polite_s: float = 0.0
    since: float = 0.0


class Process:
    """A service's process; another program that names the same folder finds it again.

    Args:
        service: what to run.
        folder: of ``NAME.pid`` and ``NAME.log``.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.log = folder / f"{service.name}.log"
        self._note = folder / f"{service.name}.pid"

    @property
    def pid(self) -> int:
        """Of the running process; 0 when it does not run."""
        note = self._noted()
        with suppress(psutil.Error):
            process = psutil.Process(note.pid)
            # A number that another process has got since is not ours.
            same = abs(process.create_time() - note.began) < 1.0
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return note.pid
        return 0

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        service = self.service
        if service.answers is not None:
            return service.answers(self._noted().since)
        if not service.port:
            return bool(self.pid)
        if not service.health:
            return is_open(service.port)
        return answers(f"http://{HERE}:{service.port}{service.health}")

    def start(self) -> Process:
        """Starts it, unless it runs, and waits until it answers.

        Raises:
            InputError: it ended, did not answer in time, or something else has its port.
        """
        if self.pid:
            return self.wait()
        self.stop()  # what it started may have outlived it and hold its port
        if self.service.port and is_open(self.service.port):
            raise InputError(
                f"port {self.service.port} of {self.service.name} is taken by another program; end "
                "that or choose another port"
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        since = time.time()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.service.command,
                env={**os.environ, **self.service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Only root may become another.
                user=self.service.user or None if os.geteuid() == 0 else None,
            )
        began = psutil.Process(process.pid).create_time()
        note = _Note(process.pid, began, self.service.polite_s, since)
        write_json(self._note, note._asdict())
        return self.wait(process)

    def wait(self, process: subprocess.Popen[bytes] | None = None) -> Process:
        """Waits until it answers; see ``start``."""
        end = time.monotonic() + self.service.patience_s
        while not self.ready:
            if process is not None and process.poll() is not None:
                raise InputError(
                    f"{self.service.name} ended with code {process.returncode}: "
                    f"{_last_line(self.log)}; all it said is in {self.log}"
                )
            if time.monotonic() > end:
                raise InputError(
                    f"{self.service.name} did not answer in {self.service.patience_s:g} s; what "
                    f"it said is in {self.log}"
                )
            time.sleep(0.1)
        return self

    def stop(self, at_once: bool = False) -> bool:
        """Ends it and all that it started: asked first, killed when it stays (or ``at_once``).

        Returns:
            Whether there was something to end.
        """
        family, polite_s = self._family(), self._noted().polite_s
        _signal(family, signal.SIGKILL if at_once else signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=polite_s)
        _signal(alive, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=polite_s)
        self._note.unlink(missing_ok=True)
        return bool(family)

    def _noted(self) -> _Note:
        with suppress(OSError, ValueError, TypeError):
            return _Note(**read_json(self._note))
        return _Note()

    def _family(self) -> list[psutil.Process]:
        """The process, all below it, and what is left of its session where it is gone itself."""
        pid, began, *_ = self._noted()
        if not pid:
            return []
        with suppress(psutil.Error):
            if abs(psutil.Process(pid).create_time() - began) >= 1.0:
                return []  # the number is another's by now, so nothing of the session is left
        found: list[psutil.Process] = []
        if self.pid:
            found = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                # A session keeps its number from others for as long as a process of it is there.
                ours = os.getsid(process.pid) == pid and process.create_time() > began - 1.0
                if ours and process not in found:
                    found.append(process)
        return found


def answers(url: str, timeout_s: float = 5.0) -> bool:
    """Whether a page is there, or is there for whoever has a password."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except OSError:
        return False


def is_open(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(2.0)
        return probe.connect_ex((HERE, port)) == 0


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def _signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
