"""``preprocess --sidecar-of``: more fields for shards that exist, as a set of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from core import recipe as recipes
from core.clip import Clip
from core.contracts import Step
from core.errors import InputError
from core.sample import SCHEMA
from core.shards import ByKey, read_manifest
from core.storage import Place, absolute
from core.weights import Store
from preprocessing import plan
from preprocessing.inputs import File, Input
from preprocessing.plan import Placed
from preprocessing.progress import Tell
from preprocessing.recipes import PreprocessRecipe
from preprocessing.run import Adding, Run, check_engine, resolve
from preprocessing.steps.stored import KEPT, MADE, Only, Stored

MEDIA = frozenset({"video", "sound"})
"""Never written again: they are the parents', and large."""


def sidecar(
    shards: Sequence[Place],
    out: Place,
    recipe: str | PreprocessRecipe,
    engine: str = "local",
    store: Store | None = None,
    settings: Sequence[str] = (),
    progress: Tell | None = None,
) -> Place:
    """Runs a recipe's steps on the samples of finished shards; raw files are not needed.

    ``out`` gets what the steps add, under the same keys and in the same order, with a ledger, a
    summary and, last, a manifest that names its parents. A run that was cut short goes on.

    Args:
        shards: a set, or a set and sidecars whose fields the steps need as well.
        out: folder or prefix for the sidecar.
        recipe: ``package.module:function``, or the recipe itself. Its steps need only fields that
            the shards hold; one that makes a field anew asks for the old one as ``kept_<name>``.
        engine: ``local`` or ``ray``.
        store: where weights lie; none by default.
        settings: ``key=value`` overrides of the recipe.
        progress: told after every sample.

    Returns:
        Place of the manifest.

    Raises:
        InputError: as ``preprocess``; or a step needs what the shards don't hold.
    """
    check_engine(engine)
    wanted = resolve(recipe, settings)
    sets = tuple(absolute(one) for one in shards)
    steps = wanted.chain(store or Store(()))
    samples = ByKey(sets)
    if not samples.keys:
        raise InputError(f"{sets[0]} holds no samples; its ledger says why clips were dropped")
    held = samples.names(samples.keys[0])
    added = {name for placed in steps for name in placed.step.adds}
    fields = tuple(name for name in SCHEMA if name in added - MEDIA)
    if not fields:
        raise InputError(f"the steps of {wanted.steps} add no field of a sample; nothing to write")
    first = cast(Step, Stored(sets, _asked(steps, held, sets)))  # its ``adds`` is a property
    chain = [replace(steps[0], step=first), *steps, replace(steps[-1], step=Only(fields))]
    plan.check(chain)
    manifest = read_manifest(sets)
    of = _digest([sorted(manifest.origin.items())])
    origin = {**plan.origins(steps), "recipe": recipes.sha(wanted), "of": of}
    parents = tuple(read_manifest(one).hash() for one in sets)
    entries = [Input(Clip(key, key), File(Path(key), key, 1, 0, True)) for key in samples.keys]
    run = Run(
        absolute(out),
        origin,
        wanted.shard_mb * 1e6,
        _digest([parents]),
        progress,
        Adding(parents, fields),
    )
    return run.complete(lambda: entries, chain, engine)


def _asked(steps: Sequence[Placed], held: frozenset[str], sets: Sequence[Place]) -> tuple[str, ...]:
    """What the steps need and don't add themselves.

    Raises:
        InputError: the shards don't hold it.
    """
    asked: list[str] = []
    made: set[str] = set()
    for placed in steps:
        for name in sorted(placed.step.needs - made - set(asked)):
            source = MADE.get(name, name.removeprefix(KEPT))
            if name != "kept_origin" and source not in held:
                raise InputError(
                    f"step {placed.step.name!r} needs {name}, which {sets[0]} does not hold; "
                    f"there are {', '.join(sorted(held))}"
                )
            asked.append(name)
        made |= placed.step.adds
    return tuple(asked)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
