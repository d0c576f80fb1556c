"""Where services listen, and addresses as they may be shown to people."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from core.errors import InputError

_PASSWORD = re.compile(r"(://[^:/@\s]*):[^/\s]*@")
_IN_QUERY = re.compile(r"((?:password|passwd|secret|token|key)=)[^&\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class Ports:
    """Where ``flashlips up`` and the compose file put each service.

    None is its program's usual port, so that one of your own may run beside it.
    """

    s3: int = 9010
    postgres: int = 5442
    mlflow: int = 5010
    prefect: int = 4210
    ray: int = 6390
    dashboard: int = 8275

    def __str__(self) -> str:
        return ",".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


def ports(text: str, variable: str) -> Ports:
    """The default ports with some changed: ``mlflow=5000,ray=6379``.

    Args:
        text: what a person wrote; "" changes none.
        variable: where.

    Raises:
        InputError: no such service, or no port.
    """
    changed: dict[str, int] = {}
    known = [field.name for field in fields(Ports)]
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = pair.partition("=")
        if name not in known:
            raise InputError(f"{variable}: no service {name!r}; there are {', '.join(known)}")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise InputError(f"{variable}: {pair!r} must read {name}=PORT, from 1 to 65535")
        changed[name] = int(number)
    found = replace(Ports(), **changed)
    used = [getattr(found, name) for name in known]
    if len(set(used)) < len(used):
        raise InputError(f"{variable}={text!r}: two services on one port ({found})")
    return found


def hidden(address: str) -> str:
    """An address with its password as ``***``, so that it may be printed."""
    return _IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", address))
