"""``preprocess/local``: raw clips to shards, once for each recipe and state of the source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow, task

from core import recipe as recipes
from core.shards import MANIFEST
from core.storage import absolute
from flows.artifacts import show_shards
from flows.orchestration import SAFE, Reference, key_of, once, plainly, reference
from flows.work import preprocess_clips
from infra.settings import settings


@task(task_run_name="shards of {source}", **SAFE)
def shard(
    key: str,
    dataset: str,
    source: str,
    out: str,
    recipe: str,
    overrides: tuple[str, ...] = (),
    engine: Literal["local", "ray"] = "local",
) -> Reference:
    """Clips to shards; a run that was cut short goes on where it was."""
    place = settings().place(out)
    return reference(preprocess_clips(dataset, Path(source), place, recipe, overrides, engine))


def work_key(
    dataset: str, source: str, out: str, recipe: str, overrides: tuple[str, ...] = ()
) -> str:
    """Cache key: hash of the recipe, of the clips' names, sizes and times, and where shards go."""
    from preprocessing import inputs
    from preprocessing.run import resolve

    data = inputs.fingerprint(inputs.listed(inputs.dataset(dataset), Path(source)))
    place = absolute(settings().place(out))
    return key_of("preprocess", recipes.sha(resolve(recipe, overrides)), data, place)


@flow(name="preprocess", flow_run_name="{out}")
@plainly
def preprocess(
    source: str,
    out: str,
    dataset: str = "folder",
    recipe: str = "preprocessing.recipes:flashlips",
    overrides: tuple[str, ...] = (),
    engine: Literal["local", "ray"] = "local",
) -> str:
    """Raw clips to shards of training samples.

    What is finished is skipped: the same recipe on the same clips ends at once, new clips cost only
    themselves. The ledger and sample pictures are shown as artifacts.

    Args:
        source: Folder of raw clips, as the worker's machine sees it.
        out: Where the shards go, a folder or s3://bucket/prefix.
        dataset: How the folder is laid out, a name in preprocessing/datasets.
        recipe: Which steps the clips go through, package.module:function.
        overrides: Changes to the recipe, each key=value.
        engine: local works in one process, ray on all of Ray's machines.

    Returns:
        Place of the manifest.
    """
    key = work_key(dataset, source, out, recipe, overrides)
    manifest = once(shard, key, dataset, source, out, recipe, overrides, engine)
    show_shards(settings().place(out))
    assert manifest.name == MANIFEST, manifest
    return str(manifest)
