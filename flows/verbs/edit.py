"""Videos -> edited videos."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import InputError
from flows.verbs import Verbs


def _sync(verbs: Verbs) -> None:
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


def _faces(verbs: Verbs) -> None:
    verb = verbs.add_parser("faces", help="who is in VIDEO: numbers for sync --face, and pictures")
    verb.add_argument("video", type=Path)
    verb.add_argument("-o", "--out", type=Path, metavar="PNG", help="default: VIDEO.faces.png here")
    verb.set_defaults(run=_run_faces)


def _run_faces(a: argparse.Namespace) -> None:
    from flows.work import list_faces

    print(list_faces(a.video, a.out))


VERBS = (
    _sync,
    _faces,
)
