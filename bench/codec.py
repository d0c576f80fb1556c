"""How good and how fast is each codec? Ceiling in the mouth box, GFLOP and ms of a 128 px crop.

    python bench/codec.py --clips FOLDER_OR_FILES... [--codecs slim taef2] [--frames 8]

Clips must be ones that the codec never saw. Writes bench/results/codec.json.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.errors import InputError
from core.files import write_json
from core.media.crop import CropSpec, warp, warp_points
from core.media.shapes import mouth_box
from core.media.video import read_frames
from infra.settings import settings
from models.experts.codec import Codec, load_codec
from models.experts.face import FaceMesh

SPEC = CropSpec()
OUT = Path(__file__).parent / "results" / "codec.json"


def mouths(path: Path, mesh: FaceMesh, count: int) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Crops (N,128,128,3) of frames spread over the first three seconds, and their mouth boxes."""
    frames, landmarks = [], []
    for _, frame in itertools.islice(read_frames(path, end_s=3.0), 0, None, 75 // count):
        mesh.reset()
        face = mesh.track(frame)
        if face is not None:
            frames.append(frame)
            landmarks.append(face.landmarks)
        if len(frames) == count:
            break
    if not frames:
        raise InputError(f"no face found in {path}; name another clip")
    points = np.stack(landmarks)
    # Frames are far apart: smoothing over them would blur the crop's place.
    transforms = CropSpec(smoothing=0).fit(points, np.ones(len(points), bool))
    crops = [warp(f, t, SPEC.size) for f, t in zip(frames, transforms, strict=True)]
    boxes = [
        mouth_box(warp_points(p, t), SPEC.size) for p, t in zip(points, transforms, strict=True)
    ]
    return np.stack(crops), boxes


def psnr(output: np.ndarray, truth: np.ndarray) -> float:
    error = np.square(output.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def sharpness(crop: np.ndarray) -> float:
    grey = crop.astype(np.float64).mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def to_pixels(x: torch.Tensor) -> np.ndarray:
    signed = x.clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    return ((signed + 1) * 127.5).round().astype(np.uint8)


def to_tensor(crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def ceiling(codec: Codec, crops: np.ndarray, boxes: list[tuple[int, ...]]) -> dict[str, float]:
    """PSNR and sharpness ratio in the mouth box, PSNR of the whole crop."""
    with torch.no_grad():
        out = to_pixels(codec(to_tensor(crops)))
    cut = [
        (o[y0:y1, x0:x1], c[y0:y1, x0:x1])
        for o, c, (x0, y0, x1, y1) in zip(out, crops, boxes, strict=True)
    ]
    return {
        "psnr_mouth": float(np.mean([psnr(o, c) for o, c in cut])),
        "psnr_crop": float(np.mean([psnr(o, c) for o, c in zip(out, crops, strict=True)])),
        "sharpness": float(np.mean([sharpness(o) / sharpness(c) for o, c in cut])),
    }


def best_ms(work: Any, repeats: int) -> float:
    """Fastest of ``repeats`` calls: other processes only ever add time."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return 1000 * min(found)


def speed(codec: Codec, repeats: int) -> dict[str, Any]:
    """GFLOP, parameters and milliseconds of one 128 px crop, by threads and precision."""
    codec.to(memory_format=torch.channels_last)
    x = torch.rand(1, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    row: dict[str, Any] = {}
    with torch.inference_mode():
        z = codec.encode(x)
        for name, work in (
            ("encode", lambda: codec.encode(x)),
            ("decode", lambda: codec.decode(z)),
        ):
            with FlopCounterMode(display=False) as counter:
                work()
            row[f"{name}_gflop"] = counter.get_total_flops() / 1e9
            for threads in (1, 2):
                torch.set_num_threads(threads)
                row[f"{name}_ms_fp32_{threads}t"] = best_ms(work, repeats)
                # Where the processor has no bf16 units this is slower than fp32 by far.
                with torch.autocast("cpu", torch.bfloat16):
                    row[f"{name}_ms_bf16_{threads}t"] = best_ms(work, max(2, repeats // 10))
    for name in ("encoder", "decoder"):
        part = getattr(codec.body, name, None)
        if part is not None:
            row[f"{name}_parameters"] = sum(p.numel() for p in part.parameters())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", nargs="+", type=Path, default=[])
    parser.add_argument("--codecs", nargs="+", default=["slim", "taef2"])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    store = settings().store()
    torch.set_num_threads(1)
    mesh = FaceMesh(store) if args.clips else None
    cases = {path.stem: mouths(path, mesh, args.frames) for path in args.clips if mesh is not None}
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "crop": SPEC.id,
        "frames_per_clip": args.frames,
        "codecs": {},
    }
    for name in args.codecs:
        codec = load_codec(name, store)
        clips = {clip: ceiling(codec, *case) for clip, case in cases.items()}
        row: dict[str, Any] = {"id": codec.id, "clips": clips}
        for key in ("psnr_mouth", "psnr_crop", "sharpness") if clips else ():
            row[f"median_{key}"] = float(np.median([value[key] for value in clips.values()]))
        report["codecs"][name] = {**row, "speed": speed(codec, args.repeats)}
        for clip, value in clips.items():
            print(name, clip, {k: round(v, 2) for k, v in value.items()})
        print(name, {k: v for k, v in report["codecs"][name].items() if k != "clips"})
    write_json(args.out, report)


if __name__ == "__main__":
    main()
