"""Shards -> checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.verbs import Verbs, places


def _train(verbs: Verbs) -> None:
    verb = verbs.add_parser("train", help="shards -> one stage's checkpoint")
    verb.add_argument("--recipe", required=True, help="package.module:function")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    verb.add_argument(
        "--shards", nargs="+", help="folder or s3:// made by 'preprocess', then its sidecars"
    )
    verb.add_argument("--out", required=True, type=Path, help="checkpoint folder")
    verb.add_argument(
        "--parent", action="append", default=[], type=Path, help="checkpoint to start from"
    )
    verb.add_argument(
        "--keep", metavar="PLACE",
        help="s3://bucket/prefix or folder that states and checkpoint are copied to, and fetched "
        "from when --out is empty",
    )  # fmt: skip
    verb.add_argument("--engine", choices=("local", "ray"), default="local")
    verb.set_defaults(run=_run_train)


def _run_train(a: argparse.Namespace) -> None:
    from flows.work import train_stage

    shards = places(a.shards) if a.shards else None
    keep = places([a.keep])[0] if a.keep else None
    print(train_stage(a.recipe, tuple(a.settings), shards, a.parent, a.out, a.engine, keep))


def _personalise(verbs: Verbs) -> None:
    verb = verbs.add_parser("personalise", help="adapt to one person from one clip")
    verb.add_argument("clip", type=Path)
    verb.add_argument("--out", required=True, type=Path)
    verb.add_argument("--minutes", type=float, default=10.0, help="training time (default 10)")
    verb.add_argument("--checkpoint", type=Path, help="where to start; default: the shipped nano")
    verb.set_defaults(run=_run_personalise)


def _run_personalise(a: argparse.Namespace) -> None:
    from flows.personalise import personalise

    result = personalise(a.clip, a.out, a.minutes, a.checkpoint)
    print(f"checkpoint  {result.checkpoint}\nreport      {result.report}")


def _demo(verbs: Verbs) -> None:
    verb = verbs.add_parser("demo", help="the whole of FlashLips on this machine, in minutes")
    verb.add_argument("--clip", type=Path, help="adds personalise and sync of this person")
    verb.add_argument("--recipe", default="flows.recipes:demo")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    verb.set_defaults(run=_run_demo)


def _run_demo(a: argparse.Namespace) -> int:
    from flows.demo import demo

    return demo(a.clip, a.recipe, tuple(a.settings))


def _nano(verbs: Verbs) -> None:
    verb = verbs.add_parser("nano", help="train the shipped checkpoint again")
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_nano)


def _run_nano(a: argparse.Namespace) -> None:
    from flows.nano import train_nano

    print(train_nano(a.out))


def _codec(verbs: Verbs) -> None:
    verb = verbs.add_parser("codec", help="train the slim codec again, from TAEF2's weights")
    verb.add_argument("--real", nargs="*", default=[], type=Path, help="photos and clips")
    verb.add_argument("--rendered", nargs="*", default=[], type=Path, help="rendered clips")
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_codec)


def _run_codec(a: argparse.Namespace) -> None:
    from flows.codec import train_codec

    print(train_codec(a.real, a.rendered, a.out))


def _export(verbs: Verbs) -> None:
    verb = verbs.add_parser("export", help="a finished system as one folder to pass on")
    verb.add_argument("system", type=Path, help="folder of its stages")
    verb.add_argument("--out", required=True, type=Path, help="a new folder")
    verb.set_defaults(run=_run_export)


def _run_export(a: argparse.Namespace) -> None:
    from flows.export import export

    print(export(a.system, a.out))


VERBS = (
    _train,
    _personalise,
    _demo,
    _nano,
    _codec,
    _export,
)
