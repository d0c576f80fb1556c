"""Does the mouth close in silence? A silent sound over talking videos.

    python bench/silence.py --systems runs/learn [--clips FOLDER] [--quick]

For each folder ``NAME/system`` under ``--systems`` (as ``bench/learn.py`` leaves them) whose clip
lies in FOLDER (default: $FLASHLIPS_CLIPS), and for the shipped nano on them: the clip is
edited to a silent sound, and the mouth is measured frame by frame. ``motion`` is the spread
of the mouth's opening (``speed``: its change from frame to frame) over the source's, wanted below
.15; ``follows`` their correlation; ``opening`` the median opening over face height, beside the
person's closed mouth and the source's median. Writes bench/results/silence.json and, under
runs/silence, the videos and a curve of each.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from learn import CLIPS

from core.files import write_json
from core.media.shapes import opening
from core.media.video import probe, read_pictures
from evaluation.machine import machine, revision
from evaluation.metrics.leakage import WANTED, residual
from inference.load import load
from inference.plan import CLOSED_QUANTILE
from inference.sync import sync
from infra.settings import quiet, settings
from models.experts.face import FaceMesh

OUT = Path(__file__).parent / "results" / "silence.json"


def openings(path: Path) -> np.ndarray:
    """Mouth opening of each frame, NaN without a face."""
    mesh = FaceMesh(settings().store())
    found = [mesh.track(frame) for _, frame in read_pictures(path)]
    return np.array([np.nan if f is None else float(opening(f.landmarks)) for f in found])


def measured(was: np.ndarray, now: np.ndarray) -> dict[str, float]:
    """Numbers of one clip from both openings, each (T,)."""
    both = np.isfinite(was) & np.isfinite(now)
    a, b = was[both], now[both]
    return {
        **residual(was, now),
        "opening": float(np.median(b)),
        "closed": float(np.quantile(a, CLOSED_QUANTILE)),
        "source_opening": float(np.median(a)),
    }


def curve(was: np.ndarray, now: np.ndarray, path: Path) -> None:
    """Both openings over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 2.5))
    axes.plot(was, label="source")
    axes.plot(now, label="edited to silence")
    axes.set(xlabel="frame", ylabel="opening")
    axes.legend()
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)


def one(clip: Path, system: Path | None, out: Path, quick: bool) -> dict[str, float]:
    """Edits a clip to silence and measures it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    silent = out.with_suffix(".wav")
    seconds = 2 if quick else probe(clip).duration_s
    soundfile.write(silent, np.zeros(round(seconds * 16_000), np.float32), 16_000)
    store = settings().store()
    sync(clip, silent, out, load(system, store), store)
    was, now = openings(clip), openings(out)
    curve(was, now, out.with_suffix(".png"))
    return {name: round(value, 4) for name, value in measured(was, now).items()}


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=Path, default=Path("runs/learn"))
    parser.add_argument("--clips", type=Path, default=settings().clips)
    parser.add_argument("--quick", action="store_true", help="silent for two seconds only")
    args = parser.parse_args()
    report: dict[str, Any] = {"wanted": {"motion": WANTED}, "quick": args.quick, "clips": {}}
    for name, file in CLIPS.items():
        clip, own = Path(args.clips) / file, args.systems / name / "system"
        for kind, system in (("personalised", own), ("nano", None)):
            if system is None or system.is_dir():
                out = settings().runs / "silence" / f"{name}-{kind}.mp4"
                row = one(clip, system, out, args.quick)
                report["clips"].setdefault(name, {})[kind] = row
                print(name, kind, row)
    report |= {"date": datetime.date.today().isoformat(), "revision": revision()}
    write_json(OUT, report | {"machine": machine()})


if __name__ == "__main__":
    main()
