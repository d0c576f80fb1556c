"""What does ``flashlips sync`` make of real clips? Numbers, and pictures to look at.

    python bench/real_clips.py [--clips FOLDER] [--columns 8] [--seed 0] [--only NAME ...]

Every clip of FOLDER (default: $FLASHLIPS_CLIPS) says another clip's sound, by the shipped nano. The
videos and a contact sheet of each (source above, output below, then their mouths) go to
runs/real_clips, which git ignores: these are real people. bench/results/real_clips.json gets, for
each clip: frames in and out, what was edited and why not, ``outside``, the mean absolute difference
of all pixels that nothing was pasted on (of 255; what encoding costs), ``seam``, the edge energy
along the paste mask's border over the source's (``evaluation/metrics/seam.py``), ``jitter``, how
unsteadily eyes and nose move over the source's, and frames a second. Clips that were not run keep
their last result.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.contracts import Predictor
from core.files import read_json, write_bytes, write_json
from core.media.crop import STABLE, paste, warp_points
from core.media.shapes import OUTER_LIPS, paste_alpha
from core.media.video import probe, read_frames, read_pictures
from core.weights import Store
from evaluation.machine import machine, revision
from evaluation.metrics.seam import Energy, edge_energy, seam_ratio
from inference.load import load
from inference.plan import Plan, plan_crops
from inference.report import SyncReport
from inference.sync import sync
from inference.tracks import Patient, Tracks, follow
from infra.settings import quiet, settings
from models.experts.face import FaceMesh

RESULTS = Path(__file__).parent / "results" / "real_clips.json"
KINDS = (".mp4", ".mov", ".mkv", ".webm", ".mpg", ".avi")
WANTED = {
    "seam_across": [1.1, "at most; more is a box that shows"],
    "jitter": [1.0, "at most; more is tracking that shakes"],
    "frames": "as many out as in",
}
TILE = 224
"""Pixels across a column of a contact sheet."""


def pairs(clips: Sequence[Path], seed: int) -> dict[Path, Path]:
    """A sound for each clip, another clip's, the same in every run."""
    heard = [clip for clip in clips if probe(clip).has_sound]
    rng, chosen = random.Random(seed), {}
    for clip in clips:
        others = [other for other in heard if other != clip]
        assert others, "two clips with sound are needed"
        chosen[clip] = rng.choice(others)
    return chosen


def planned(clip: Path, predictor: Predictor, store: Store) -> Plan:
    """Where ``sync`` pastes: its first pass once more."""
    crop, info = predictor.spec.crop, probe(clip)
    assert crop is not None, "a system that edits crops"
    return plan_crops(
        tracked(clip, store), crop, (info.width, info.height), predictor.spec.references
    )


def tracked(path: Path, store: Store) -> Tracks:
    """The largest face of a video, frame by frame."""
    with closing(read_pictures(path)) as frames:
        return follow(frames, [Patient(FaceMesh(store))])[0]


def shaking(tracks: Tracks) -> np.ndarray:
    """How unsteadily points that no edit moves move: (T-2,), NaN beside frames without a face.

    Length of their second difference over time, mean over points, over the distance of the eyes.
    """
    points = tracks.landmarks[:, [point[0] for point in STABLE], :2].astype(np.float64)
    points[~tracks.found] = np.nan
    eyes = np.linalg.norm(points[:, 0] - points[:, 3], axis=-1)
    return np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean(-1) / eyes[1:-1]


def jitter(output: Tracks, source: Tracks) -> float:
    """``shaking`` of the output over the source's, over frames that show a face in both."""
    count = min(len(output), len(source)) - 2
    ours, theirs = shaking(output)[:count], shaking(source)[:count]
    both = np.isfinite(ours) & np.isfinite(theirs)
    return float(ours[both].mean() / theirs[both].mean())


def pasted(plan: Plan, index: int, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """How much of each pixel of a frame was pasted, (H, W) in [0, 1]; 0 in untouched frames."""
    if plan.weight[index] == 0 or plan.transforms is None:
        return np.zeros(shape[:2])
    transform = plan.transforms[index]
    alpha = paste_alpha(warp_points(plan.tracks.landmarks[index], transform), size)
    white = np.full((size, size, 3), 255, np.uint8)
    return paste(np.zeros(shape, np.uint8), white, transform, alpha)[..., 0] / 255


@dataclass
class Looked:
    """What is gathered over a clip's frames."""

    frames_in: int = 0
    frames_out: int = 0
    difference: float = 0.0
    pixels: int = 0
    output: Energy = field(default_factory=Energy)
    source: Energy = field(default_factory=Energy)
    columns: list[np.ndarray] = field(default_factory=list)

    def frame(self, source: np.ndarray, output: np.ndarray, mask: np.ndarray) -> None:
        """Adds a frame and its output."""
        outside = mask == 0
        gap = np.abs(source.astype(np.int16) - output).mean(2)
        self.difference += float(gap[outside].sum())
        self.pixels += int(outside.sum())
        self.source += edge_energy(source, mask)
        self.output += edge_energy(output, mask)


def both(clip: Path, out: Path) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
    """Frames of both files, None where one has ended."""
    with closing(read_frames(clip)) as before, closing(read_frames(out)) as after:
        while True:
            pair = next(before, None), next(after, None)
            if pair == (None, None):
                return
            yield tuple(None if item is None else item[1] for item in pair)


def looked_at(clip: Path, out: Path, plan: Plan, size: int, columns: int) -> Looked:
    """Both files, frame by frame."""
    found, every = Looked(), max(1, len(plan) // columns)
    for index, (source, output) in enumerate(both(clip, out)):
        found.frames_in += source is not None
        found.frames_out += output is not None
        if source is None or output is None or index >= len(plan):
            continue
        found.frame(source, output, pasted(plan, index, size, source.shape))
        if index % every == every // 2 and len(found.columns) < columns:
            found.columns.append(column(source, output, plan, index))
    return found


def column(source: np.ndarray, output: np.ndarray, plan: Plan, index: int) -> np.ndarray:
    """Source above, output below, then the mouth of each, (H, TILE, 3) uint8."""
    height = round(TILE * source.shape[0] / source.shape[1])
    tiles = [cv2.resize(f, (TILE, height), interpolation=cv2.INTER_AREA) for f in (source, output)]
    for frame in (source, output):
        if not plan.tracks.found[index]:
            tiles.append(np.zeros((TILE, TILE, 3), np.uint8))
            continue
        lips = plan.tracks.landmarks[index, list(OUTER_LIPS), :2]
        side = max(16, round(2.6 * float(np.ptp(lips[:, 0]))))  # chin and cheeks, where seams lie
        centre = (float(lips[:, 0].mean()), float(lips[:, 1].mean()))
        view = cv2.getRectSubPix(frame, (side, side), centre)
        tiles.append(cv2.resize(view, (TILE, TILE), interpolation=cv2.INTER_CUBIC))
    note = tiles[0].copy()
    cv2.putText(note, str(index), (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 0), 2)
    return np.concatenate([note, *tiles[1:]])


def row(report: SyncReport, found: Looked, sound: Path, shake: float) -> dict[str, Any]:
    """A clip's numbers."""
    ratio = seam_ratio(found.output, found.source)
    return {
        "sound": sound.name,
        "size": [report.width, report.height],
        "frames_in": found.frames_in,
        "frames_out": found.frames_out,
        "frames_reported": report.frames,
        "edited": report.edited,
        "untouched": report.untouched,
        "faces": report.faces,
        "outside": round(found.difference / max(1, found.pixels), 3),
        "seam": {name: round(value, 3) for name, value in asdict(ratio).items()},
        "jitter": round(shake, 3),
        "fps_overall": report.fps_overall,
        "fps_by_part": report.fps_by_part,
    }


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=settings().clips)
    parser.add_argument("--columns", type=int, default=8, help="of a contact sheet")
    parser.add_argument("--seed", type=int, default=0, help="of who says what")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="file names")
    args = parser.parse_args()
    if args.clips is None:
        parser.error("name a folder of clips: --clips, or FLASHLIPS_CLIPS")
    clips = sorted(p for p in Path(args.clips).iterdir() if p.suffix.lower() in KINDS)
    store, work = settings().store(), settings().runs / "real_clips"
    predictor = load(None, store)
    report: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"clips": {}}
    for clip, sound in pairs(clips, args.seed).items():
        if args.only and clip.name not in args.only:
            continue
        out = work / f"{clip.stem}.mp4"
        said = sync(clip, sound, out, predictor, store)
        plan = planned(clip, predictor, store)
        found = looked_at(clip, out, plan, predictor.spec.crop.size, args.columns)
        sheet = np.concatenate(found.columns, 1)
        write_bytes(out.with_suffix(".png"), cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        report["clips"][clip.name] = row(
            said, found, sound, jitter(tracked(out, store), plan.tracks)
        )
        report |= {"wanted": WANTED, "seed": args.seed, "threads": settings().threads}
        report |= {"date": datetime.date.today().isoformat(), "load_average": os.getloadavg()[0]}
        report |= {"revision": revision(), "machine": machine()}
        print(clip.name, report["clips"][clip.name])
        write_json(RESULTS, report)


if __name__ == "__main__":
    main()
