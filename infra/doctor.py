"""``flashlips doctor``: is all here that the settings ask for, and what to do where it is not.

A check is a function of the settings that gives rows. Each runs in a thread of its own and is given
up after a while, so that a server that swallows questions holds nobody.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from infra.settings import Settings

State = Literal["ok", "warn", "missing", "broken"]
LIMIT_S = 5.0


@dataclass(frozen=True)
class Row:
    """What a check found.

    Attributes:
        name: of what was looked at.
        state: ``ok``; ``warn``: works, and something about it will hurt; ``missing``: not here, and
            only what needs it fails; ``broken``: the settings name it and it does not work.
        found: what was seen.
        remedy: what to do; "" where nothing is to be done.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A check by name.

    Attributes:
        run: gives its rows.
        imports: heavy modules, imported before the clock runs; one that is missing is run's matter.
        limit_s: when it is given up.
        given_up: the state of a check that was given up.
    """

    run: Callable[[Settings], list[Row]]
    imports: tuple[str, ...] = ()
    limit_s: float = LIMIT_S
    given_up: State = "broken"


def checks(settings: Settings) -> dict[str, Check]:
    """All checks, in the order in which they are shown."""
    from infra import doctor_machine as machine
    from infra import doctor_services as services

    return {
        "settings": Check(machine.variables),
        "mlflow": Check(services.mlflow, _database(settings)),
        "prefect": Check(services.prefect),
        "ray": Check(services.ray),
        "s3": Check(services.s3, _storage(settings)),
        "weights": Check(machine.weights, (), machine.weights_limit_s(settings), "warn"),
        "gpu": Check(machine.gpu, ("torch",), LIMIT_S, "warn"),
        "disk": Check(machine.disk),
        "packages": Check(machine.packages, (), LIMIT_S, "warn"),
        "shm": Check(machine.shared_memory, (), LIMIT_S, "warn"),
    }


def diagnose(settings: Settings, only: Sequence[str] = ()) -> list[Row]:
    """Runs checks side by side.

    Args:
        settings: what is asked for.
        only: names of checks; all when empty.

    Raises:
        InputError: there is no check of that name.
    """
    known = checks(settings)
    for name in only:
        if name not in known:
            raise InputError(f"no check {name!r}; there are {', '.join(known)}")
    return run({name: check for name, check in known.items() if name in (only or known)}, settings)


def run(chosen: Mapping[str, Check], settings: Settings) -> list[Row]:
    """Rows of checks, in their order; none takes longer than its limit."""
    for check in chosen.values():
        for module in check.imports:
            with suppress(ImportError):
                importlib.import_module(module)
    running = [(name, check, _Running(check, settings)) for name, check in chosen.items()]
    return [row for name, check, thread in running for row in thread.rows(name, check)]


class _Running:
    """A check in a thread that ends with the process if nobody waits for it any more."""

    def __init__(self, check: Check, settings: Settings) -> None:
        self._rows: list[Row] = []
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, args=(check, settings), daemon=True)
        self._thread.start()

    def _run(self, check: Check, settings: Settings) -> None:
        try:
            self._rows = check.run(settings)
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            self._trouble = f"{type(error).__name__}: {error}"

    def rows(self, name: str, check: Check) -> list[Row]:
        self._thread.join(check.limit_s)
        if self._thread.is_alive():
            remedy = "start it again, or correct the setting that names it"
            return [Row(name, check.given_up, f"no answer in {check.limit_s:g} s", remedy)]
        if self._trouble:
            return [Row(name, "broken", self._trouble, "report this: the check itself failed")]
        return self._rows


def well(rows: Sequence[Row]) -> bool:
    """Whether nothing that the settings ask for is broken."""
    return all(row.state != "broken" for row in rows)


def _database(settings: Settings) -> tuple[str, ...]:
    return ("psycopg",) if settings.mlflow_uri.startswith("postgresql") else ()


def _storage(settings: Settings) -> tuple[str, ...]:
    return ("s3fs",) if settings.bucket else ()
