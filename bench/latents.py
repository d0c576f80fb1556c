"""What does storing latents cost? PSNR of decoded photos, float32 against float16 and uint8.

    python bench/latents.py [--codecs slim taef2]

Photos are those that installed packages carry, their middle at 256 px. Writes
bench/results/latents.json: mean PSNR to the photo, mean and worst loss in dB of each storage, and
of uint8 grids with other steps than the one in core.latents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from core.files import write_json
from core.latents import STEPS, ZERO, packed, unpacked
from infra.settings import settings
from models.experts.codec import Codec, load_codec
from training.patches import load_frames, packaged_photos

SIDE = 256
OTHER_STEPS = (16.0, 32.0, 42.0)


def photos() -> torch.Tensor:
    """(N, 3, 256, 256) in [-1, 1]."""
    found = []
    for path in packaged_photos():
        (photo,) = load_frames(path)
        short = min(photo.shape[:2])
        top, left = (photo.shape[0] - short) // 2, (photo.shape[1] - short) // 2
        middle = photo[top : top + short, left : left + short]
        found.append(cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 127.5 - 1


def grid(z: np.ndarray, steps: float) -> np.ndarray:
    """Latents on a uint8 grid of ``steps`` to 1."""
    return ((np.clip(np.round(z * steps) + ZERO, 0, 255) - ZERO) / steps).astype(np.float32)


def measure(codec: Codec, x: torch.Tensor) -> dict[str, object]:
    """One codec's row."""

    def psnr(z: np.ndarray) -> np.ndarray:
        y = codec.decode(torch.from_numpy(z.astype(np.float32))).clamp(-1, 1)
        return (10 * torch.log10(4 / ((y - x) ** 2).mean((1, 2, 3)))).numpy()

    with torch.inference_mode():
        z = codec.encode(x).numpy()
        best = psnr(z)
        stored = {s: unpacked(packed(z, s)) for s in ("float16", "uint8")}
        stored |= {f"uint8, {s:g} steps": grid(z, s) for s in OTHER_STEPS}
        loss = {name: best - psnr(values) for name, values in stored.items()}
    return {
        "codec": codec.id,
        "std": round(float(z.std()), 3),
        "largest": round(float(np.abs(z).max()), 2),
        "psnr_db": round(float(best.mean()), 2),
        "loss_db": {
            name: {"mean": round(float(v.mean()), 4), "worst": round(float(v.max()), 4)}
            for name, v in loss.items()
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codecs", nargs="+", default=["slim"])
    torch.set_num_threads(1)
    pictures = photos()
    rows = [
        measure(load_codec(name, settings().store()), pictures)
        for name in parser.parse_args().codecs
    ]
    result = {"photos": len(pictures), "side": SIDE, "steps": STEPS, "rows": rows}
    write_json(Path(__file__).parent / "results" / "latents.json", result)
    for row in rows:
        print(row)
