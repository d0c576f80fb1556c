"""How long does a benchmark of 100 clips of 5 s take to be measured? (issue: under 6 minutes, two
cores, the metrics that need no big net)

    python bench/evaluate.py [--clips FOLDER] [--count 100] [--work FOLDER]

The videos are the clips themselves, encoded again, so that nothing is edited here. FOLDER holds any
talking clips, long or short; they are cut into pieces of 5 s and taken round until there are enough
(every copy is encoded anew and so has bytes of its own; nothing is found in a cache). Cutting takes
longer than measuring: ``--work`` keeps the pieces for another time. Writes
bench/results/evaluate.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from core.media.audio import read_sound
from core.media.video import VideoWriter, probe, read_frames_at
from core.sample import SAMPLE_RATE
from infra.settings import REPO, quiet, settings

SECONDS, FPS = 5.0, 25


def pieces(clips: list[Path]) -> list[tuple[Path, float]]:
    """Every 5 s of every clip, shorter rests left out."""
    found = []
    for clip in clips:
        whole = int(probe(clip).duration_s // SECONDS)
        found += [(clip, i * SECONDS) for i in range(whole)]
    return found


def cut(piece: tuple[Path, float], out: Path, crf: int) -> None:
    """Writes one piece at 25 frames a second."""
    clip, start = piece
    sound = read_sound(clip, SAMPLE_RATE)[int(start * SAMPLE_RATE) :][: int(SECONDS * SAMPLE_RATE)]
    frames = [f for _, f in read_frames_at(clip, FPS, (start, start + SECONDS))]
    height, width = np.asarray(frames[0]).shape[:2]
    with VideoWriter(out, width, height, Fraction(FPS), sound, crf=crf) as writer:
        for frame in frames:
            writer.write(np.asarray(frame))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, nargs="+", default=[REPO / "runs" / "corpus"])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    quiet()
    from evaluation.machine import machine, revision
    from flows.benchmark import Work, evaluate_videos

    known = sorted(
        p for folder in arguments.clips for p in folder.rglob("*") if p.suffix in (".mp4", ".mpg")
    )
    chosen = list(islice(cycle(pieces(known)), arguments.count))
    with tempfile.TemporaryDirectory(prefix="flashlips-bench-") as scratch:
        root = arguments.work or Path(scratch)
        for index, piece in enumerate(chosen):
            for folder, crf in (("clips", 14), ("videos", 28)):
                out = root / folder / f"{index:03d}.mp4"
                out.parent.mkdir(parents=True, exist_ok=True)
                if not out.exists():
                    # Rounds differ a little, so that no two files are equal.
                    cut(piece, out, crf + index // 50)
            print(f"cut {index + 1} of {len(chosen)}", end="\r", flush=True)
        start = time.perf_counter()
        evaluate_videos(
            "reconstruction@1", root / "clips", Path(scratch),
            Work(videos=root / "videos", system="encoded again"),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        scores = json.loads((Path(scratch) / "scores.json").read_text())
    found = {
        "clips": len(chosen), "seconds_each": SECONDS, "seconds": round(seconds, 1),
        "wanted": 360, "measured": scores["measured"], "metrics": sorted(scores["values"]),
        "threads": settings().threads, "machine": machine(), "revision": revision(),
    }  # fmt: skip
    (REPO / "bench" / "results" / "evaluate.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
