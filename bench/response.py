"""What each metric says of damage whose strength is known, on a rendered head.

    python bench/response.py [--corpus FOLDER] [--frames 32] [--random fvd lpips ...]

Two heads are rendered (or taken from FOLDER, a corpus of ``preprocessing.datasets.synthetic``). The
first one's clip is its own perfect output; it is blurred, made noisy, late, brighter, or changed
for the second head, measured anew at each step, and judged by every metric that can be computed.
``--random`` also runs metrics whose weights are absent with random ones, as ``random/NAME``; their
numbers mean nothing. Writes bench/results/response.json, docs/pictures/metric_response.png and a
page in runs/response; says which numbers miss a damage they are meant to see.
"""

from __future__ import annotations

import argparse
import datetime
import logging
from pathlib import Path

from core.errors import InputError
from core.files import write_json
from evaluation.machine import machine, revision
from evaluation.metrics import of_videos, random_backbones
from evaluation.metrics.plain import plain
from evaluation.report import Report
from evaluation.response import Curve, plot, response
from evaluation.response_page import add_response, deaf, judged, rows
from evaluation.video_report import directions
from evaluation.videos import Reader, VideoCase, VideoMetric, Viewing, first
from infra.settings import quiet, settings
from models.experts.face import FaceMesh
from preprocessing.datasets.synthetic import MANIFEST, clips, render_corpus

ROOT = Path(__file__).parents[1]
OUT = ROOT / "bench" / "results" / "response.json"
PICTURE = ROOT / "docs" / "pictures" / "metric_response.png"
SMALL = ("fvd", "lpips", "lse_c", "lse_d", "id_arcface", "id_facenet512")
"""Metrics whose random weights are written in seconds; the lip reader's alone are 0.5 GB."""


def metrics(random: list[str]) -> list[VideoMetric]:
    """All that can be computed here, and some with random weights."""
    store = settings().store()
    with_nets, missing = of_videos(store, None)
    absent = {m.name for m in missing}
    folder = settings().runs / "response" / "random"
    folder.mkdir(parents=True, exist_ok=True)
    made = random_backbones(folder, only=[name for name in random if name in absent])
    here = [m for m in plain(store) if all(map(store.has, m.needs))]
    return [m for m in (*here, *with_nets, *made) if "self" in m.kinds]


def measured(corpus: Path, frames: int, judges: list[VideoMetric]) -> list[Curve]:
    """The curves of the corpus' first head."""
    mesh = FaceMesh(settings().store())
    reader = Reader(Viewing(seconds=frames / 25), mesh)
    videos = [Path(clip.source) for clip in clips(corpus)][:2]
    own, other = (first(reader.source(video), frames) for video in videos)
    case = VideoCase("response", "source", own, own, own.sound, own)
    able = [judge for judge in judges if answers(judge, case)]
    return response(case, able, other, mesh_of=mesh.mesh_crop)


def answers(judge: VideoMetric, case: VideoCase) -> bool:
    """Whether a metric can measure the case; some ask for more frames or sound."""
    try:
        judge.observe(case)
    except InputError as error:
        logging.getLogger(__name__).warning("%s: %s", judge.name, error)
        return False
    return True


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="default: rendered into runs/response/corpus")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--random", nargs="*", default=list(SMALL), metavar="NAME")
    args = parser.parse_args()
    folder = settings().runs / "response"
    corpus = args.corpus or folder / "corpus"
    if not (corpus / MANIFEST).is_file():
        render_corpus(corpus, settings().store(), identities=2, seconds=2.0)
    judges = metrics(args.random)
    curves = measured(corpus, args.frames, judges)
    ways = directions({m.name: m for m in judges}, [c.number for c in curves])
    shown = judged(curves, ways)
    report = {
        "frames": args.frames, "curves": rows(shown, ways), "deaf": deaf(shown, ways),
        "date": datetime.date.today().isoformat(), "revision": revision(), "machine": machine(),
    }  # fmt: skip
    write_json(OUT, report)
    plot(shown, PICTURE)
    page = Report("Response of metrics", "A rendered head, damaged by known amounts.")
    print(add_response(page, shown, ways).write(folder)[1])
    print("deaf:", *report["deaf"])


if __name__ == "__main__":
    main()
