"""How fast does training get its samples? Frame pairs, windows and sequences a second at 256 px.

    python bench/reading.py [--clips 8] [--frames 120] [--seconds 5] [--workers 1 2] [--folder F]

Writes shards of random arrays of true shapes (crop, masks, expression, cached latents, speech),
then serves them as each stage asks for them: from a frame cache, by one worker process and by more,
one compute thread each. Beside it stands what a pair costs that is decoded from its tar. A rate is
samples a second over all workers; "mb_per_s" is what they copied. Writes
bench/results/reading.json.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.contracts import BatchRequest, FramePair, Sequence60, Window
from core.files import write_json
from core.shards import ByKey, Manifest, read_manifest, write_manifest, write_shard
from evaluation.machine import machine, revision
from training import reading

OUT = Path(__file__).parent / "results" / "reading.json"
SIZE, CHANNELS, STRIDE, EXPRESSION, SPEECH = 256, 32, 8, 64, 464
"""Crop side, the slim codec's channels and stride, and feature sizes as nano's stages use them."""
PIXELS = ("crop", "mask", "lips_mask", "expression", "latent_source", "latent_masked")
"""What stage 1 asks for (models/flashlips/reconstruction.py)."""
VIEWS = {
    "frame_pairs": BatchRequest(FramePair(), PIXELS),
    "windows_16": BatchRequest(Window(16, 16), ("latent_source", "latent_masked", "speech")),
    "sequences_60": BatchRequest(Sequence60(), ("speech", "expression", "opening")),
}
BATCH = 16
WANTED = 800.0


def make(folder: Path, clips: int, frames: int) -> Path:
    """Shards of ``clips`` people, one segment of ``frames`` frames each."""
    rng = np.random.default_rng(0)
    side = SIZE // STRIDE
    files = []
    for i in range(clips):
        latent = rng.normal(size=(frames, CHANNELS, side, side)).astype(np.float16)
        sample = {
            "key": f"clip{i:04d}",
            "info": {"clip": f"clip{i}", "speaker": f"person{i}", "first_frame": 0,
                     "clip_frames": frames},
            "crop": rng.integers(0, 255, (frames, SIZE, SIZE, 3), np.uint8),
            "mask": rng.random((frames, SIZE, SIZE), np.float32) < 0.4,
            "lips_mask": rng.random((frames, SIZE, SIZE), np.float32) < 0.1,
            "expression": rng.normal(size=(frames, EXPRESSION)).astype(np.float32),
            "opening": rng.random(frames, np.float32),
            "latent_source": latent,
            "latent_masked": latent[::-1],
            "speech": rng.normal(size=(frames, SPEECH)).astype(np.float16),
        }  # fmt: skip
        files.append(write_shard(folder / f"shard-{i:05d}.tar", [sample]))
    write_manifest(folder, Manifest({"crop": f"bench@{SIZE}"}, files, {"frames": clips * frames}))
    return folder


def fields() -> tuple[str, ...]:
    """All that any view asks for."""
    return tuple(sorted({name for request in VIEWS.values() for name in request.fields}))


def serve(shards: Path, cache: Path, view: str, seconds: float, rank: int, gate: Any) -> Any:
    """One worker: samples and bytes it served, and for how long."""
    torch.set_num_threads(1)
    request = VIEWS[view]
    data = reading.load(shards, request.fields, cache=cache)
    for step in range(3):
        data.batch(request, BATCH, seed=1, step=step, rank=rank)
    gate.wait()  # all start together
    start, samples, copied, step = time.perf_counter(), 0, 0, 0
    while time.perf_counter() - start < seconds:
        batch = data.batch(request, BATCH, seed=0, step=step, rank=rank)
        samples, step = samples + BATCH, step + 1
        copied += sum(t.nbytes for t in batch.values() if isinstance(t, torch.Tensor))
    return samples, copied, time.perf_counter() - start


def rate(shards: Path, cache: Path, view: str, seconds: float, workers: int) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(workers) as pool:
        gate = manager.Barrier(workers)
        jobs = [(shards, cache, view, seconds, rank, gate) for rank in range(workers)]
        found = pool.starmap(serve, jobs, chunksize=1)
    return {
        "samples_per_s": round(sum(n / s for n, _, s in found), 1),
        "mb_per_s": round(sum(b / s for _, b, s in found) / 1e6, 1),
    }


def decoded(shards: Path, seconds: float) -> float:
    """Pairs a second when each is decoded from its tar: the whole segment for two frames."""
    samples = ByKey(shards)
    rng = np.random.default_rng(0)
    start, pairs = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or not pairs:
        sample = samples.read(samples.keys[rng.integers(len(samples.keys))], PIXELS)
        for name in PIXELS:
            sample[name][rng.integers(len(sample[name]), size=2)]
        pairs += 1
    return round(pairs / (time.perf_counter() - start), 2)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    shards, cache = make(folder / "shards", options.clips, options.frames), folder / "frames"
    start = time.perf_counter()
    reading.load(shards, fields(), cache=cache)
    unpack_s = time.perf_counter() - start
    start = time.perf_counter()
    reading.load(shards, fields(), cache=cache)
    again_s = time.perf_counter() - start
    rates: dict[str, dict[str, Any]] = {}
    for view in VIEWS:
        rates[view] = {
            str(n): rate(shards, cache, view, options.seconds, n) for n in options.workers
        }
        print(view, rates[view], flush=True)
    one, most = (str(f(options.workers)) for f in (min, max))
    pairs = rates["frame_pairs"]
    best = pairs[most]["samples_per_s"]
    return {
        "rates_by_workers": rates,
        "pairs_per_s": best,
        "wanted_pairs_per_s": WANTED,
        "passed": best >= WANTED,
        "scaling": round(best / pairs[one]["samples_per_s"], 3),
        "pairs_per_s_from_tar": decoded(shards, options.seconds),
        "unpack_frames_per_s": round(options.clips * options.frames / unpack_s, 1),
        "second_start_s": round(again_s, 3),
        "shards_mb": round(sum(s.bytes for s in read_manifest(shards).shards) / 1e6, 1),
        "cache_mb": round(sum(p.stat().st_size for p in cache.rglob("*.bin")) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=120, help="of each clip; 75 or more")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="for 0.5 MB a frame; default: a temporary one")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reading-", dir=options.folder) as folder:
        found = measure(Path(folder), options)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "revision": revision(),
        "machine": machine(),
        "size": SIZE,
        "clips": options.clips,
        "frames": options.frames,
        "batch": BATCH,
        **found,
    }
    write_json(options.out, result)
    print(f"{found['pairs_per_s']} pairs/s (wanted {WANTED}); {options.out}")


if __name__ == "__main__":
    main()
