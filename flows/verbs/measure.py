"""Edited videos -> numbers and pages."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.errors import InputError
from flows.verbs import Verbs, places


def _evaluate(verbs: Verbs) -> None:
    verb = verbs.add_parser("evaluate", help="measure a system on held-out time or a benchmark")
    verb.add_argument("--shards", nargs="+", help="held-out time of shards, then their sidecars")
    verb.add_argument(
        "--benchmark",
        help="reconstruction, cross_audio, silence, clips, aigc or synthetic, which needs no clips",
    )
    verb.add_argument("--clips", type=Path, help="the benchmark's folder of talking clips")
    verb.add_argument("--checkpoint", type=Path, help="system folder; default: the shipped nano")
    verb.add_argument("--videos", type=Path, help="videos that another system made of the clips")
    verb.add_argument("--system", default="", help="what tables call the system")
    verb.add_argument(
        "--speed", action="store_true", help="edit one clip fifteen times more and say how fast"
    )
    verb.add_argument(
        "--random", action="store_true", help="try metrics without weights, as random/NAME"
    )
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_evaluate)


def _run_evaluate(a: argparse.Namespace) -> None:
    if (a.shards is None) == (a.benchmark is None):
        raise InputError("give either --shards or --benchmark")
    if a.shards is not None:
        from flows.measure import evaluate_system

        print(evaluate_system(places(a.shards), a.checkpoint, a.out))
        return
    from flows.benchmark import Work, evaluate_videos

    work = Work(a.checkpoint, a.videos, a.system, a.speed, a.random)
    print(evaluate_videos(a.benchmark, a.clips, a.out, work))


def _compare(verbs: Verbs) -> None:
    verb = verbs.add_parser("compare", help="systems on one benchmark: which differences are real")
    verb.add_argument("results", nargs="+", type=Path, help="folders that 'evaluate' wrote")
    verb.add_argument("--out", required=True, type=Path)
    verb.add_argument(
        "--ablate", default="", metavar="NAME[=V,V,...]",
        help="what was varied: refs or lips by the cards, mask=with,without, any name with a value "
        "for each result; adds curves over it",
    )  # fmt: skip
    verb.set_defaults(run=_run_compare)


def _run_compare(a: argparse.Namespace) -> None:
    from flows.benchmark import compare_results

    print(compare_results(a.results, a.out, a.ablate))


VERBS = (
    _evaluate,
    _compare,
)
