"""Registered models in MLflow: ``challenger`` is the newest version, ``champion`` the best so far.

Nothing here stops a flow: where MLflow doesn't answer, functions log a line and give None.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from core.checkpoint import WEIGHTS
from core.clip import content_hash
from core.storage import SCHEME, Place
from infra.addresses import hidden
from infra.mlflow_client import connect, one_line
from infra.settings import Settings

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

CHAMPION, CHALLENGER = "champion", "challenger"
URI = "uri"
CONTENT = "content"
LOCAL = "folder://"
"""An MLflow server refuses plain paths as a source: they would be read on its own machine."""


@dataclass(frozen=True)
class Version:
    """A registered checkpoint.

    Attributes:
        name: of the registered model.
        number: of the version, from 1.
        uri: its folder, or ``s3://bucket/prefix``.
        tags: what it was registered with, and ``content``, a hash of its weights where they are
            local.
        aliases: names that point at it now.
    """

    name: str
    number: int
    uri: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()


def _quietly(
    call: Callable[Concatenate[Any, Settings, P], T],
) -> Callable[Concatenate[Settings, P], T | None]:
    """Hands ``call`` a client; None and a line in the log when MLflow can't do it."""

    def wrapped(settings: Settings, /, *args: P.args, **named: P.kwargs) -> T | None:
        try:
            client = connect(settings.mlflow_uri, settings.runs)
            return call(client, settings, *args, **named)
        except Exception as error:  # noqa: BLE001 - a registry must never stop training
            at, why = hidden(settings.mlflow_uri), one_line(error)
            LOG.warning("registry at %s: %s failed: %s", at, call.__name__, why)
            return None

    functools.update_wrapper(wrapped, call)
    return wrapped


@_quietly
def register(
    client: Any, settings: Settings, name: str, checkpoint: Place, tags: Mapping[str, str]
) -> Version:
    """Makes a checkpoint the newest version and its ``challenger``; the same one is found again.

    Args:
        client: given by the wrapper.
        settings: where MLflow is.
        name: of the registered model, such as ``flashlips``.
        checkpoint: folder of a system or a stage, or the prefix it is kept under.
        tags: see ``infra.mlflow_tracker.run_tags``.
    """
    uri = str(checkpoint.resolve()) if isinstance(checkpoint, Path) else str(checkpoint)
    wanted = {**tags, **_content(checkpoint), URI: uri}
    _ensure(client, name)
    same = [v for v in _versions(client, name) if dict(v.tags) == wanted]
    if same:
        number = same[0].number
    else:
        source = uri if uri.startswith(SCHEME) else LOCAL + uri
        made = client.create_model_version(name, source, tags=wanted)
        number = int(made.version)
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    return _one(client, name, number)


@_quietly
def promote(
    client: Any, settings: Settings, name: str, number: int | None = None
) -> Version | None:
    """Points ``champion`` at a version, the challenger by default; None where there is none."""
    if number is None:
        challenger = _current(client, name, CHALLENGER)
        if challenger is None:
            LOG.warning("registry: %s has no %s to promote", name, CHALLENGER)
            return None
        number = challenger.number
    client.set_registered_model_alias(name, CHAMPION, str(number))
    return _one(client, name, number)


@_quietly
def current(client: Any, settings: Settings, name: str, alias: str = CHAMPION) -> Version | None:
    """The version that an alias points at; None when there is no such model or alias."""
    return _current(client, name, alias)


@_quietly
def versions(client: Any, settings: Settings, name: str) -> list[Version]:
    """All versions of a registered model, newest first; empty when there is no such model."""
    return _versions(client, name)


def _content(checkpoint: Place) -> dict[str, str]:
    """A hash of all weights below a folder: trained again, it is another version."""
    if not isinstance(checkpoint, Path):
        return {}
    whole = hashlib.sha256()
    for path in sorted(checkpoint.rglob(WEIGHTS)):
        whole.update(f"{path.relative_to(checkpoint)} {content_hash(path)}\n".encode())
    return {CONTENT: whole.hexdigest()[:16]}


def _ensure(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _versions(client: Any, name: str) -> list[Version]:
    found = client.search_model_versions(f"name = '{name}'")
    aliases = _aliases(client, name) if found else {}
    made = [_version(v, aliases) for v in found]
    return sorted(made, key=lambda v: -v.number)


def _one(client: Any, name: str, number: int) -> Version:
    return _version(client.get_model_version(name, str(number)), _aliases(client, name))


def _current(client: Any, name: str, alias: str) -> Version | None:
    known = {a: v.number for v in _versions(client, name) for a in v.aliases}
    return _one(client, name, known[alias]) if alias in known else None


def _aliases(client: Any, name: str) -> dict[str, int]:
    # Versions that come from a search carry no aliases.
    return {a: int(v) for a, v in client.get_registered_model(name).aliases.items()}


def _version(found: Any, aliases: Mapping[str, int]) -> Version:
    number = int(found.version)
    names = tuple(sorted(a for a, v in aliases.items() if v == number))
    return Version(found.name, number, found.tags.get(URI, found.source), found.tags, names)
