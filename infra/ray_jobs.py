"""Jobs of a Ray cluster over HTTP: submit one, follow what it says, learn how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import InputError

CONNECT_S = 10.0
SILENT_S = 60.0
"""How long a cluster may not answer while a job is followed."""
_PORT = 8265


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        status: ``SUCCEEDED``, ``FAILED`` or ``STOPPED``.
        code: the exit code to pass on: the job's own where it has one.
        reason: Ray's words.
    """

    status: str
    code: int
    reason: str


class Jobs:
    """The jobs of one cluster.

    Args:
        address: of the head's dashboard, as ``http://head:8265``.
        token: of the cluster; "" when it wants none, or Ray's own variables name it.

    Raises:
        InputError: nobody answers there, or the token is not the right one.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self.address = _checked(address)
        # Ray lets this variable and RAY_ADDRESS overrule the argument.
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address
        from ray.job_submission import JobSubmissionClient

        # Ray tells of every file that it packs.
        for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.ERROR)
        headers = {"Authorization": f"Bearer {token}"} if token else None
        with self._told():
            self._client = JobSubmissionClient(self.address, headers=headers)

    def submit(
        self, entrypoint: str, folder: Path, excludes: list[str], variables: Mapping[str, str]
    ) -> str:
        """Sends a folder and starts a command in its copy on the head; gives the job's id.

        Args:
            entrypoint: the command, as a shell reads it.
            folder: becomes the working folder of the job and all its workers.
            excludes: what is not sent, as ``.gitignore`` writes it.
            variables: set for the job and its workers.
        """
        environment = {
            "working_dir": str(folder),
            "excludes": excludes,
            "env_vars": dict(variables),
        }
        end = time.monotonic() + SILENT_S
        with self._told():
            while True:
                try:
                    job: str = self._client.submit_job(
                        entrypoint=entrypoint, runtime_env=environment
                    )
                except RuntimeError as error:  # a head that has just come up has no agent yet
                    if "No available agent" not in str(error) or time.monotonic() > end:
                        raise
                    time.sleep(1.0)
                else:
                    return job

    def follow(self, job: str, write: Callable[[str], Any]) -> Ended:
        """Passes on what a job says until it has ended; a broken connection is taken up again.

        Raises:
            InputError: the cluster has not answered for a minute.
        """
        seen, heard = 0, time.monotonic()
        while True:
            at = 0
            for text in self._said(job):
                new = text[max(0, seen - at) :]
                at += len(text)
                if new:
                    write(new)
            seen = max(at, seen)
            try:
                with self._told():
                    ended = self._ended(job)
            except InputError:
                if time.monotonic() - heard > SILENT_S:
                    raise
                time.sleep(2.0)
                continue
            if ended is not None:
                return ended
            heard = time.monotonic()
            time.sleep(0.5)

    def _said(self, job: str) -> Iterator[str]:
        """What a job has said from its beginning, as it comes, until the connection ends.

        A thread listens that nobody waits for: after Ctrl-C the connection would be closed in good
        manners, which lasts for as long as the job talks.
        """
        heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def listen() -> None:
            try:
                asyncio.run(self._tail(job, heard.put))
            finally:
                heard.put(None)

        threading.Thread(target=listen, name="logs", daemon=True).start()
        return iter(heard.get, None)

    async def _tail(self, job: str, tell: Callable[[str], None]) -> None:
        import aiohttp

        try:
            async for text in self._client.tail_job_logs(job):
                tell(text)
        except (RuntimeError, aiohttp.ClientError, OSError) as error:
            logging.getLogger(__name__).debug("%s: the log broke off: %s", job, error)

    def _ended(self, job: str) -> Ended | None:
        found = self._client.get_job_info(job)
        if not found.status.is_terminal():
            return None
        status = str(found.status.value)
        code = 0 if status == "SUCCEEDED" else found.driver_exit_code or 1
        return Ended(status, code, (found.message or "").strip())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What can go wrong between here and the cluster, in one sentence."""
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise InputError(
                f"the Ray cluster at {self.address} wants its token: set RAY_AUTH_TOKEN_PATH to a "
                "copy of the head's ~/.ray/auth_token (or RAY_AUTH_TOKEN to what is in it)"
            ) from error
        except (ConnectionError, requests.RequestException) as error:
            raise InputError(_nobody(self.address)) from error
        except (RuntimeError, ValueError) as error:  # what Ray makes of other answers
            first = (str(error).strip().splitlines() or [""])[0]
            raise InputError(f"the Ray cluster at {self.address} refused: {first}") from error


def _checked(address: str) -> str:
    """The address without a slash at its end, once something listens there."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{address!r} is no address of a Ray dashboard: write it as http://HEAD:{_PORT}"
        )
    try:
        where = (parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme])
        socket.create_connection(where, timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise InputError(_nobody(address)) from error
    return address.rstrip("/")


def _nobody(address: str) -> str:
    return (
        f"no Ray dashboard answers at {address}: is the cluster up, is this the head's port "
        f"{_PORT}, and does the network let you there"
    )
