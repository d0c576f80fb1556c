"""What the verbs and the flows share: each function does one box of the DAG and gives a reference.

No Prefect here, so that ``flashlips sync`` and ``train`` never load it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from core import recipe as recipes
from core.checkpoint import CheckpointRef, read_card
from core.contracts import Tracker
from core.errors import InputError
from core.shards import Shards, read_manifest
from core.storage import Place
from flows.console import Console
from infra.metrics import meter, metered
from infra.settings import REPO, settings
from infra.trackers import NullTracker

Engine = Literal["local", "ray"]
NANO = REPO / "checkpoints" / "nano"


def preprocess_clips(
    dataset: str,
    source: Path,
    out: Place,
    recipe: str = "preprocessing.recipes:flashlips",
    overrides: Sequence[str] = (),
    engine: Engine = "local",
    console: Console | None = None,
) -> Place:
    """Raw clips -> shards; gives the manifest's place."""
    from preprocessing.run import preprocess

    return preprocess(
        dataset,
        source,
        out,
        recipe=recipe,
        engine=engine,
        store=settings().store(),
        settings=tuple(overrides),
        progress=_told(console),
    )


def add_sidecar(
    shards: Sequence[Place],
    out: Place,
    recipe: str,
    overrides: Sequence[str] = (),
    engine: Engine = "local",
    console: Console | None = None,
) -> Place:
    """Finished shards -> more fields of the same samples; gives the manifest's place."""
    from preprocessing.sidecar import sidecar

    store = settings().store()
    return sidecar(shards, out, recipe, engine, store, tuple(overrides), _told(console))


def _told(console: Console | None) -> Callable[[Any], None]:
    """Shows the progress of preprocessing, to Prometheus too where a port is named."""
    console, counted = console or Console(), meter(settings())

    def tell(p: Any) -> None:
        if counted is not None:
            counted.preprocessed(p)
        left = math.nan if p.left_s is None else p.left_s
        note = f"clip {p.done} of {p.total}  {p.frames_per_s:.0f} frames/s"
        console.bar("preprocess", p.done, p.total, left, note)

    return tell


def train_recipe(
    recipe: Any,
    shards: Shards,
    parents: Mapping[str, CheckpointRef],
    out: Path,
    engine: Engine = "local",
    tracker: Tracker | None = None,
    console: Console | None = None,
    keep: Place | None = None,
) -> CheckpointRef:
    """Shards -> one stage's checkpoint; resumes, and skips what is finished."""
    console, store = console or Console(), settings().store()
    tracker = metered(tracker or NullTracker(), recipe.stage, settings())
    if engine == "ray":
        from training.ray_job import train_on_ray

        return train_on_ray(
            recipe, shards, parents, out, store, tracker, console.training, settings().workers, keep
        )
    from training.job import train_here

    return train_here(recipe, shards, parents, out, store, tracker, console.training, keep)


def train_stage(
    recipe_name: str,
    overrides: Sequence[str],
    shards: Shards | None,
    parents: Sequence[Path],
    out: Path,
    engine: Engine = "local",
    keep: Place | None = None,
) -> Path:
    """``flashlips train``: one recipe by name, as a run of its own; ``keep`` as ``train_here``."""
    # Imported here: the other verbs need no tracking.
    from flows.tracking import parent_run
    from infra.mlflow_tracker import run_tags

    recipe = recipes.override(recipes.load(recipe_name), overrides)
    cards = [read_card(parent) for parent in parents]
    if shards is None:
        raise InputError(f"recipe {recipe_name} needs --shards: a folder made by 'preprocess'")
    by_stage = {card.stage: card for card in cards}
    tags = run_tags(recipe.system, recipe.stage, recipes.sha(recipe), data_hash(shards))
    with parent_run(out, f"{recipe.system} {recipe.stage}", tags) as tracker:
        made = train_recipe(recipe, shards, by_stage, out, engine, tracker, keep=keep)
    return Path(made.uri)


def train_chain(
    stages: Sequence[Any],
    shards: Shards,
    out: Path,
    start: Path | None = None,
    engine: Engine = "local",
    tracker_of: Callable[[Any], Tracker | None] = lambda recipe: None,
    console: Console | None = None,
) -> dict[str, CheckpointRef]:
    """All stages of a system in order, each into ``out/<stage>``.

    Args:
        stages: recipes in training order.
        shards: what to train on.
        out: system folder.
        start: another system folder whose stages give the first weights.
        engine: in this process or on Ray.
        tracker_of: gives each stage its tracker.
        console: progress.
    """
    made: dict[str, CheckpointRef] = {}
    for recipe in stages:
        first = {recipe.stage: read_card(start / recipe.stage)} if start else {}
        parents = {**needed(recipe, made), **first}
        made[recipe.stage] = train_recipe(
            recipe, shards, parents, out / recipe.stage, engine, tracker_of(recipe), console
        )
    return made


def needed(recipe: Any, made: Mapping[str, CheckpointRef]) -> dict[str, CheckpointRef]:
    """The checkpoints that a recipe's stage comes after, out of those made."""
    from models.system import load_system

    after = load_system(recipe.system).stages[recipe.stage].after
    return {stage: made[stage] for stage in after}


def sync_video(
    video: Path,
    audio: Path | None,
    out: Path,
    checkpoint: Path | None = None,
    seed: int = 0,
    console: Console | None = None,
    **choices: Any,
) -> Path:
    """``flashlips sync``: gives the path of the video; ``choices`` as ``inference.sync.sync``."""
    from inference.load import load
    from inference.sync import sync

    console, store = console or Console(), settings().store()
    predictor = load(checkpoint, store)
    started: dict[str, float] = {}

    def tell(part: str, done: int, total: int | None) -> None:
        elapsed = time.monotonic() - started.setdefault(part, time.monotonic())
        left = elapsed / done * (total - done) if total and done else math.nan
        speed = f", {(done - 1) / elapsed:.1f} a second" if elapsed > 0 and done > 1 else ""
        console.bar(part, done, total or done + 1, left, f"frame {done}{speed}")

    sync(video, audio, out, predictor, store, seed=seed, progress=tell, **choices)
    return out


def list_faces(video: Path, out: Path | None = None) -> str:
    """``flashlips faces``: a line for each person; writes their pictures."""
    import cv2

    from core.files import write_bytes
    from core.media.video import probe, read_frames
    from inference.people import find_people, sheet
    from models.experts.face import FaceMesh
    from models.experts.identity import Identity

    store, path = settings().store(), probe(video).path
    net = Identity(store)
    people = find_people(read_frames(path), FaceMesh(store), net if net.available else None)
    if not people:
        raise InputError(f"no face was found in {video}; give a video that shows a face")
    out = out or Path(f"{path.stem}.faces.png")
    write_bytes(out, cv2.imencode(".png", sheet(people)[..., ::-1])[1].tobytes())
    rows = [
        f"{i}  first seen at {p.first_s:.1f} s, in {p.seen} looks, "
        f"{p.box[2] - p.box[0]:.0f} px wide, {p.x:.0f} px from the left"
        for i, p in enumerate(people)
    ]
    return "\n".join([*rows, str(out)])


def data_hash(shards: Shards) -> str:
    """Hash of a shard folder's manifest."""
    return read_manifest(shards).hash()
