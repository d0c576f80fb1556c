"""A TCP proxy between a client and a server of this machine that can be cut, and joined again."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

HERE = "127.0.0.1"


class Proxy:
    """Passes bytes on to a port; ``cut`` stops that, as a lost cable or as a lost route.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HERE, 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._refusing = True
        self._flowing.set()
        self._listener.close()
        self._drop()

    def cut(self, seconds: float, silent: bool) -> None:
        """Nothing passes for so long.

        Args:
            seconds: how long.
            silent: connections stay open and stand still; else they are reset and new ones closed.
        """
        if silent:
            self._flowing.clear()
        else:
            self._refusing = True
            self._drop()
        time.sleep(seconds)
        self._refusing = False
        self._flowing.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._refusing:
                    client.close()
                    continue
                try:
                    server = socket.create_connection((HERE, self._target))
                except OSError:
                    client.close()
                    continue
                self._pairs.append((client, server))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                target.sendall(data)
                self.passed += len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
