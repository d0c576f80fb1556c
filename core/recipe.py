"""Recipes: a Python function that returns a frozen dataclass. All of the config machinery."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from core.errors import InputError

T = TypeVar("T")


def load(name: str) -> Any:
    """Calls the recipe function ``package.module:function``.

    Raises:
        InputError: no such module or function, or it returns no dataclass.
    """
    module_name, _, function_name = name.partition(":")
    if not function_name:
        raise InputError(f"recipe {name!r} must read package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(f"recipe {name!r}: no module {module_name!r} ({error})") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        names = ", ".join(
            n
            for n, v in vars(module).items()
            if callable(v)
            and getattr(v, "__module__", None) == module_name
            and n.islower()
            and not n.startswith("_")
        )
        raise InputError(f"recipe {name!r}: {module_name} has no {function_name!r}; it has {names}")
    recipe = function()
    if not dataclasses.is_dataclass(recipe):
        raise InputError(f"recipe {name!r} does not return a recipe")
    return recipe


def override(recipe: T, settings: Sequence[str]) -> T:
    """A copy of ``recipe`` with ``key=value`` settings applied; ``a.b=1`` reaches nested fields.

    Raises:
        InputError: unknown key (lists the valid ones) or a value of another type.
    """
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign:
            raise InputError(f"--set {setting!r} must read key=value")
        recipe = _replace(recipe, key.split("."), text, key)
    return recipe


def _replace(node: Any, path: list[str], text: str, key: str) -> Any:
    valid = list(node) if isinstance(node, dict) else [f.name for f in dataclasses.fields(node)]
    name, rest = path[0], path[1:]
    if name not in valid:
        raise InputError(f"unknown key {key!r}; valid keys here: {', '.join(valid)}")
    old = node[name] if isinstance(node, dict) else getattr(node, name)
    nested = isinstance(old, dict) or dataclasses.is_dataclass(old)
    if bool(rest) != nested:
        what = "is a group of keys, name one of them" if nested else "has no keys below it"
        raise InputError(f"--set {key}: {name!r} {what}")
    new = _replace(old, rest, text, key) if rest else _parse(text, old, key)
    return (
        {**node, name: new} if isinstance(node, dict) else dataclasses.replace(node, **{name: new})
    )


def _parse(text: str, old: Any, key: str) -> Any:
    if isinstance(old, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if old is not None and type(value) is not type(old):
        raise InputError(f"--set {key}={text}: wants {type(old).__name__}, like {old!r}")
    return value


def to_json(recipe: Any) -> Any:
    """The recipe as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(recipe), sort_keys=True))


def later(default: T) -> T:
    """A field that a recipe got later; at its default it does nothing and is left out of ``sha``.

    So what was made before the field existed is still what that recipe makes.
    """
    made: T = dataclasses.field(default=default, metadata={"later": True})
    return made


def sha(recipe: Any) -> str:
    """16 hex digits of the resolved recipe: the run's identity. See ``later``."""
    text = json.dumps(_weighed(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _weighed(value: Any) -> Any:
    """Plain values of all that counts for ``sha``, recipes within recipes too."""
    if dataclasses.is_dataclass(value):
        counts = (
            f
            for f in dataclasses.fields(value)
            if not (f.metadata.get("later") and getattr(value, f.name) == f.default)
        )
        return {f.name: _weighed(getattr(value, f.name)) for f in counts}
    if isinstance(value, Mapping):
        return {key: _weighed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_weighed(item) for item in value]
    return value
