"""How fast is ``flashlips sync``, part by part, and does it keep its memory?

    python bench/sync.py [--only speed memory] [--quick] [--clips FOLDER]

``speed``: a 720p clip made from the largest clip of FOLDER (default: $FLASHLIPS_CLIPS; else a drawn
face), with the shipped nano: frames a second of each part and of all, medians over runs, once with
the backend that is chosen on this machine and once with torch. Parts overlap in threads, so all may
be faster than the slowest alone would allow on one core; ``core_ms_a_frame`` is what all of them
take together. ``memory``:
peak memory of a process that edits 2 and 20 minutes of the same small video, its face tracked, with
a predictor that paints nothing. Writes bench/results/sync.json; parts that were not run keep their
last result.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from preprocess import joined, video

from core.files import read_json, write_json
from core.media.video import VideoWriter
from core.testing import DummyPredictor, dummy_sound, talking_frame
from evaluation.machine import machine, peak_mb, revision
from inference.load import load
from inference.report import SyncReport
from inference.sync import sync
from infra.settings import quiet, settings

OUT = Path(__file__).parent / "results" / "sync.json"
RUNS = 3
WANTED = {
    "speed": ("fps_overall", 25.0, "frames a second of everything, on two cores"),
    "memory": ("rss_ratio", 1.05, "peak memory of 20 minutes over that of 2"),
}


def speed(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """The shipped nano on 720p, by the backend that is chosen here and by torch, in turns."""
    path = video(work / "hd.mp4", (720, 1280), 2 if quick else 20, clips)
    store = settings().store()
    predictors = {"chosen": load(None, store)}
    os.environ["FLASHLIPS_BACKEND"] = "torch"
    predictors["torch"] = load(None, store)
    found: dict[str, list[SyncReport]] = {name: [] for name in predictors}
    cores: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(1 if quick else RUNS):
        for name, predictor in predictors.items():
            before = time.process_time()
            report = sync(path, path, work / "out.mp4", predictor, store)
            cores[name].append((time.process_time() - before) * 1e3 / report.frames)
            found[name].append(report)
    row: dict[str, Any] = {
        name: {
            "fps_overall": round(float(np.median([r.fps_overall for r in reports])), 2),
            "core_ms_a_frame": round(float(np.median(cores[name])), 1),
            "fps_by_part": {
                part: round(float(np.median([r.fps_by_part[part] for r in reports])), 1)
                for part in reports[0].fps_by_part
            },
        }
        for name, reports in found.items()
    }
    ours, theirs = row["chosen"]["fps_overall"], row["torch"]["fps_overall"]
    row |= {"fps_overall": ours, "times_faster_than_torch": round(ours / theirs, 2)}
    row |= {"backend": type(predictors["chosen"].predictor.net).__name__}  # type: ignore[attr-defined]
    return row | {"frames": found["chosen"][0].frames, "threads": settings().threads}


def memory(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """A drawn face, 160x120."""
    del clips
    piece = work / "piece.mp4"
    with VideoWriter(piece, 160, 120, Fraction(25), crf=20) as out:
        for index in range(250):
            out.write(talking_frame(index, 160, 120)[0])
    minutes, peaks = (0.5, 1.0) if quick else (2.0, 20.0), []
    for length in minutes:
        path = joined(piece, work / f"{length:g}.mp4", round(length * 6))
        sound = dummy_sound(work / f"{length:g}.wav", length * 60)
        command = [sys.executable, __file__, "--child", str(path), str(sound), str(work / "o.mp4")]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        peaks.append(json.loads(said.strip().splitlines()[-1]))
        path.unlink()
    return {
        "minutes": list(minutes),
        "frames": [p["frames"] for p in peaks],
        "peak_mb": [round(p["peak_mb"], 1) for p in peaks],
        "rss_ratio": round(peaks[1]["peak_mb"] / peaks[0]["peak_mb"], 3),
    }


def child(path: Path, sound: Path, out: Path) -> None:
    """One edit in a process of its own; says its frames and peak memory."""
    windows = replace(DummyPredictor().spec, window=16)  # it remembers its calls
    report = sync(path, sound, out, DummyPredictor(windows), settings().store())
    print(json.dumps({"frames": report.frames, "peak_mb": peak_mb()}))


PARTS: dict[str, Callable[[Path, bool, Path | None], dict[str, Any]]] = {
    "speed": speed, "memory": memory,
}  # fmt: skip


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--clips", type=Path, default=settings().clips)
    parser.add_argument("--child", nargs=3, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    report: dict[str, Any] = read_json(OUT) if OUT.exists() else {}
    for name in args.only:
        key, wanted, meaning = WANTED[name]
        with tempfile.TemporaryDirectory() as work:
            clips = None if args.clips is None else Path(args.clips)
            row = PARTS[name](Path(work), args.quick, clips)
        row |= {"wanted": {key: wanted, "meaning": meaning}, "quick": args.quick}
        row |= {"date": datetime.date.today().isoformat(), "load_average": os.getloadavg()[0]}
        row |= {"revision": revision(), "machine": machine()}
        report[name] = row
        print(name, json.dumps(row, indent=1))
        write_json(OUT, report)


if __name__ == "__main__":
    main()
