"""Real servers for tests, each a process of its own that ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from infra import services, stack

Run = Callable[[services.Service], services.Process]


def need_postgres() -> None:
    """Ends a test here where there is no PostgreSQL.

    Its server is a program of the system that no package of ours may bring, and the tests that ask
    for it are about that very server: sqlite in its place would prove nothing. All others go
    without.
    """
    if not stack.has_postgres():
        pytest.skip("needs PostgreSQL's server, of the system: apt-get install postgresql")


@contextmanager
def running() -> Iterator[tuple[Path, Run]]:
    """A folder, and what starts services in it."""
    with ExitStack() as ends:
        # Not below pytest's folder, which others may not look into: PostgreSQL never runs as root.
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="flashlips-team-")))
        folder.chmod(0o755)

        def run(service: services.Service) -> services.Process:
            process = services.Process(service, folder / "services")
            ends.callback(process.stop, at_once=True)
            return process.start()

        yield folder, run
