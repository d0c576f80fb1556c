"""Raw clips -> shards, and a look at them."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.errors import InputError
from flows.verbs import Verbs, places


def _preprocess(verbs: Verbs) -> None:
    verb = verbs.add_parser("preprocess", help="raw clips -> shards")
    verb.add_argument("--dataset", help="name in preprocessing/datasets")
    verb.add_argument("--source", type=Path, help="folder of raw clips")
    verb.add_argument(
        "--sidecar-of", nargs="+", metavar="SHARDS", help="add fields to these instead of raw clips"
    )
    verb.add_argument("--out", required=True, help="folder or s3://bucket/prefix for the shards")
    verb.add_argument(
        "--recipe", help="default: preprocessing.recipes:flashlips; see preprocessing.sidecars"
    )
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    verb.add_argument("--engine", choices=("local", "ray"), default="local")
    verb.set_defaults(run=_run_preprocess)


def _run_preprocess(a: argparse.Namespace) -> None:
    from flows.work import add_sidecar, preprocess_clips
    from infra.settings import settings

    out, changes = settings().place(a.out), tuple(a.settings)
    if (a.sidecar_of is None) == (a.dataset is None or a.source is None):
        raise InputError("give either --dataset and --source, or --sidecar-of")
    if a.sidecar_of is None:
        recipe = a.recipe or "preprocessing.recipes:flashlips"
        print(preprocess_clips(a.dataset, a.source, out, recipe, changes, a.engine))
    elif a.recipe is None:
        raise InputError("--sidecar-of needs --recipe, such as preprocessing.sidecars:latents")
    else:
        print(add_sidecar(places(a.sidecar_of), out, a.recipe, changes, a.engine))


def _data(verbs: Verbs) -> None:
    verb = verbs.add_parser("data", help="look at shards")
    kinds = verb.add_subparsers(required=True, metavar="WHAT")
    inspect = kinds.add_parser("inspect", help="counts, histograms, reasons, and a page to look at")
    inspect.add_argument("shards", nargs="+", help="folder or s3:// made by 'preprocess'")
    inspect.add_argument("--source", type=Path, help="raw clips, for pictures of rejected ones")
    inspect.add_argument("--out", type=Path, metavar="PAGE", help="default: runs/inspect/NAME.html")
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(a: argparse.Namespace) -> None:
    from core.files import write_bytes
    from infra.settings import settings
    from preprocessing import inspect, page

    shards = places(a.shards)
    found = inspect.look(shards)
    print(inspect.text(found))
    out = a.out or settings().runs / "inspect" / f"{shards[0].name or 'shards'}.html"
    write_bytes(out, page.html(found, shards, a.source).encode())
    print(f"page  {out}")


VERBS = (
    _preprocess,
    _data,
)
