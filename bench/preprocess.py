"""How fast is preprocessing, does it keep its memory, and what does a rerun cost?

    python bench/preprocess.py [--only decode workers memory resume] [--quick] [--clips FOLDER]

Ratios are taken within one run, so that a slow machine is no slow program; run it on a quiet one.
Videos are made from a clip of FOLDER (default: $FLASHLIPS_CLIPS), else a drawn face is used.
Writes bench/results/preprocess.json; parts that were not run keep their last result.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from core.clip import Clip
from core.files import read_json, write_json
from core.media.video import VideoWriter, probe, read_frames
from core.testing import talking_frame
from evaluation.machine import machine, peak_mb, revision
from infra.settings import settings
from preprocessing import inputs, ledger
from preprocessing.pack import keep
from preprocessing.plan import Placed, Work, do, ready
from preprocessing.progress import Progress
from preprocessing.recipes import (
    PreprocessRecipe,
    flashlips_256,
    flashlips_debug,
    flashlips_steps,
)
from preprocessing.run import preprocess
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment

OUT = Path(__file__).parent / "results" / "preprocess.json"
WANTED = {
    "decode": ("ratio", 0.28, "of PyAV's decode to RGB, in one process on one core"),
    "workers": ("ray_over_pair", 0.85, "two Ray workers over two processes side by side"),
    "memory": ("rss_ratio", 1.10, "peak memory of the long video over that of the short one"),
    "resume": ("seconds", 10.0, "a rerun of a finished run of 1,000 clips, no video read"),
}


# -- videos ---------------------------------------------------------------------------------------


def faces(clips: Path | None, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 without end: a real clip to and fro, or a drawn face with grain."""
    found = sorted(clips.glob("*.mp4")) if clips is not None and clips.is_dir() else []
    if found:
        largest = max(found, key=lambda path: probe(path).width * probe(path).height)
        frames = [f for _, f in itertools.islice(read_frames(largest), 100)]
        scale = max(size[0] / frames[0].shape[1], size[1] / frames[0].shape[0])
        for frame in itertools.cycle(frames + frames[-2:0:-1]):
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=how)
            top = (large.shape[0] - size[1]) // 2
            left = (large.shape[1] - size[0]) // 2
            yield np.ascontiguousarray(large[top : top + size[1], left : left + size[0]])
    rng = np.random.default_rng(0)
    grain = [rng.normal(0, 4, (size[1], size[0], 1)) for _ in range(4)]
    for index in itertools.count():
        frame = talking_frame(index, *size)[0]
        yield np.clip(frame + grain[index % 4], 0, 255).astype(np.uint8)


def video(path: Path, size: tuple[int, int], seconds: float, clips: Path | None) -> Path:
    count = round(seconds * 25)
    tone = np.sin(np.arange(count * 640) * 0.07).astype(np.float32)
    with VideoWriter(path, *size, Fraction(25), tone, 16_000, crf=20) as out:
        for frame in itertools.islice(faces(clips, size), count):
            out.write(frame)
    return path


def joined(piece: Path, path: Path, times: int) -> Path:
    """A long video from a short one, without encoding it again."""
    with av.open(str(piece)) as source:
        packets = [p for p in source.demux() if p.dts is not None]
        length_s = max((p.dts + p.duration) * p.time_base for p in packets) - min(
            p.dts * p.time_base for p in packets
        )  # of the longer of picture and sound: neither may run backwards at a joint
    with av.open(str(path), "w") as out:
        for turn in range(times):
            with av.open(str(piece)) as source:
                if turn == 0:
                    streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.dts is None:
                        continue
                    shift = round(turn * length_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
    return path


def copies(piece: Path, folder: Path, count: int) -> Path:
    """The same video under other bytes: an empty box behind the last one."""
    folder.mkdir()
    data = piece.read_bytes()
    for i in range(count):
        (folder / f"{i:05d}.mp4").write_bytes(data + b"\0\0\0\x0cfree" + i.to_bytes(4, "big"))
    return folder


# -- chains ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiny:
    """Shrinks frames to 16 pixels: a chain of nothing but reading."""

    name = "tiny"
    needs = frozenset({"frames"})
    adds = frozenset({"crop"})

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, found: Sequence[Clip]) -> Iterator[Clip]:
        """Shrinks; 1:1."""
        for clip in found:
            crops = [cv2.resize(frame, (16, 16)) for frame in clip.fields["frames"]]
            yield clip.having(crop=np.stack(crops), frames=None, sound_around=None)


def light(recipe: PreprocessRecipe, store: object) -> list[Placed]:
    return [
        Placed(Probe(min_s=recipe.min_s)), Placed(Segment(longest_s=recipe.segment_s)),
        Placed(Read()), Placed(Tiny()),
    ]  # fmt: skip


def through(path: Path, recipe: PreprocessRecipe, folder: Path) -> tuple[int, float, dict]:
    """Frames kept, seconds and seconds by step of one file; no codec, no speech encoder."""
    chain = [
        placed
        for placed in flashlips_steps(recipe, settings().store())
        if placed.step.name not in ("latents", "speech")
    ]
    steps = ready(chain)
    clip = Clip("bench", str(path), facts={"sha256": "0" * 64})
    start, frames, writing = time.perf_counter(), 0, 0.0
    spent: dict[str, float] = {}
    for part in do(steps, Work("bench", clip)):
        begin = time.perf_counter()
        frames += int(keep(part, folder).clip.facts.get("frames", 0))
        writing += time.perf_counter() - begin
        for name, value in part.seconds.items():
            spent[name] = spent.get(name, 0.0) + value
    return frames, time.perf_counter() - start, {**spent, "write": writing}


# -- parts ----------------------------------------------------------------------------------------


def decode(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """Decode alone against the whole chain at 256, in turns on one core.

    The chain is measured as it ships, the source kept at twice the crop's side, and with the crop
    alone kept.
    """
    path = video(work / "hd.mp4", (720, 1280), 4 if quick else 20, clips)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    recipes = {"chain": flashlips_256(), "crop_only": replace(flashlips_256(), margin=1.0)}
    rates: dict[str, list[float]] = {"bare": [], "rgb": [], **{name: [] for name in recipes}}
    tables: list[dict[str, float]] = []
    for turn in range(2 if quick else 4):
        rates["bare"].append(decoded(path, convert=False))
        rates["rgb"].append(decoded(path, convert=True))
        for name, recipe in recipes.items():
            start = time.process_time()
            frames, wall, spent = through(path, recipe, work)
            if not frames:
                raise SystemExit("no frame of the test video was kept: choose another clip")
            used = time.process_time() - start
            if turn == 0:  # the first turn loads the nets
                continue
            rates[name].append(frames / used)
            if name == "chain":
                tables.append({k: 1000 * v / frames * used / wall for k, v in spent.items()})
    table = {k: round(float(np.median([t[k] for t in tables])), 3) for k in tables[0]}
    rate = {k: float(np.median(v)) for k, v in rates.items()}
    return {
        **{f"{k}_frames_per_s": round(v, 1) for k, v in rate.items()},
        "ratio": round(rate["chain"] / rate["rgb"], 3),
        "ratio_crop_only": round(rate["crop_only"] / rate["rgb"], 3),
        "ms_per_frame_by_step": table,
    }


def decoded(path: Path, convert: bool) -> float:
    """Frames a second of CPU time that PyAV decodes, to RGB or as they are."""
    start, count = time.process_time(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            count += 1
            if convert:
                frame.to_ndarray(format="rgb24")
    return count / (time.process_time() - start)


class Pace:
    """Frames a second between the first finished clip and the last: start-up is not counted."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def __call__(self, progress: Progress) -> None:
        """Notes when how many frames were done."""
        if progress.frames:
            self.seen.append((time.perf_counter(), progress.frames))

    @property
    def rate(self) -> float:
        """Frames a second."""
        (start, first), (end, last) = self.seen[0], self.seen[-1]
        return (last - first) / (end - start)


def pace(raw: Path, out: Path, engine: str) -> float:
    told = Pace()
    preprocess(
        "folder", raw, out, flashlips_debug(), engine, settings().store(), ("min_face=8",), told
    )
    return told.rate


def workers(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """One process, two side by side, and Ray with two workers, each over its own clips."""
    piece = video(work / "piece.mp4", (640, 360), 2 if quick else 10, clips)
    count = 6 if quick else 30  # five minutes for each core, ten for Ray's two
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return {"skipped": "two cores are needed"}

    def child(name: str, core: int) -> subprocess.Popen[str]:
        raw = copies(piece, work / name, count)
        command = [sys.executable, __file__, "--child", str(raw), str(work / f"{name} out")]
        return subprocess.Popen(
            ["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True
        )

    alone = float(child("alone", cores[0]).communicate()[0].split()[-1])
    pair = [child(f"pair {core}", core) for core in cores]
    both = sum(float(one.communicate()[0].split()[-1]) for one in pair)
    os.sched_setaffinity(0, set(cores))
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    on_ray = pace(copies(piece, work / "ray", 2 * count), work / "ray out", "ray")
    ray.shutdown()
    return {
        "alone_frames_per_s": round(alone, 2),
        "pair_frames_per_s": round(both, 2),
        "ray_frames_per_s": round(on_ray, 2),
        "ray_over_pair": round(on_ray / both, 3),
        "ray_per_core_over_loop": round(on_ray / 2 / alone, 3),
    }


def memory(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """Peak memory and time for a short and a long video of the same kind."""
    short, long = (0.5, 2.0) if quick else (5.0, 40.0)
    piece = video(work / "small.mp4", (160, 120), 15, clips)
    found = {}
    for minutes in (short, long):
        path = joined(piece, work / f"{minutes:g}.mp4", round(minutes * 4))
        command = [sys.executable, __file__, "--child-memory", str(path), str(work)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found[minutes] = json.loads(said.strip().splitlines()[-1])
        path.unlink()
    per_hour = {m: f["seconds"] / m * 60 for m, f in found.items()}
    return {
        "minutes": [short, long],
        "frames": [f["frames"] for f in found.values()],
        "peak_mb": [round(f["peak_mb"], 1) for f in found.values()],
        "rss_ratio": round(found[long]["peak_mb"] / found[short]["peak_mb"], 3),
        "seconds_per_hour_of_video": [round(value) for value in per_hour.values()],
        "cost_ratio": round(per_hour[long] / per_hour[short], 3),
    }


def forget(raw: Path) -> None:
    """Sets the time of last access of every file to 1970: a reading will show."""
    for path in raw.iterdir():
        os.utime(path, ns=(0, path.stat().st_mtime_ns))


def opened(raw: Path) -> int:
    """How many files were read since ``forget``, by whatever process."""
    return sum(path.stat().st_atime_ns > 0 for path in raw.iterdir())


def resume(work: Path, quick: bool, clips: Path | None) -> dict[str, Any]:
    """A finished run once more; every reading of an input is counted."""
    count = 50 if quick else 1000
    piece = video(work / "tiny.mp4", (64, 64), 1.2, clips)
    raw, out = copies(piece, work / "many", count), work / "many out"
    recipe = PreprocessRecipe(steps=f"{Path(__file__).stem}:light")

    def again() -> tuple[float, int]:
        forget(raw)
        start = time.perf_counter()
        preprocess("folder", raw, out, recipe)
        return time.perf_counter() - start, opened(raw)

    first_s, seen = again()
    if seen != count:
        raise SystemExit("this file system keeps no times of access: set TMPDIR to another")
    seconds, read = again()
    (raw / "00000.mp4").rename(raw / "renamed.mp4")  # the last run's notes, shards and hashes
    renamed_s, renamed_read = again()
    return {
        "clips": count,
        "first_seconds": round(first_s, 2),
        "seconds": round(seconds, 3),
        "videos_read": read,
        "one_renamed_seconds": round(renamed_s, 3),
        "one_renamed_videos_read": renamed_read,
        "rows": len(ledger.read(out / ledger.LEDGER)),
        "hashes_kept": len(read_json(out / inputs.HASHES)),
    }


PARTS: dict[str, Callable[[Path, bool, Path | None], dict[str, Any]]] = {
    "decode": decode, "workers": workers, "memory": memory, "resume": resume,
}  # fmt: skip


def children(args: argparse.Namespace) -> bool:
    """This script as a measured process of its own."""
    if args.child:
        print(pace(args.child[0], args.child[1], "local"))
    elif args.child_memory:
        recipe = replace(flashlips_debug(), min_face=8.0)
        frames, seconds, _ = through(args.child_memory[0], recipe, args.child_memory[1])
        print(json.dumps({"frames": frames, "seconds": seconds, "peak_mb": peak_mb()}))
    return bool(args.child or args.child_memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--clips", type=Path, default=settings().clips)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child-memory", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if children(args):
        return
    report: dict[str, Any] = read_json(args.out) if args.out.exists() else {}
    cores = os.sched_getaffinity(0)
    for name in args.only:
        key, wanted, meaning = WANTED[name]
        with tempfile.TemporaryDirectory() as work:
            clips = None if args.clips is None else Path(args.clips)
            row = PARTS[name](Path(work), args.quick, clips)
        os.sched_setaffinity(0, cores)
        row |= {"wanted": {key: wanted, "meaning": meaning}, "quick": args.quick}
        row |= {"date": datetime.date.today().isoformat(), "load_average": os.getloadavg()[0]}
        row |= {"revision": revision(), "machine": machine()}
        report[name] = row
        print(name, json.dumps(row, indent=1))
        write_json(args.out, report)


if __name__ == "__main__":
    main()
