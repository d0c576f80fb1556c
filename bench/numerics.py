"""A few seeded steps of each FlashLips stage on toy people: float32, one thread, seconds.

    python bench/numerics.py OUT.json [--steps 10] [--hashes]

Writes the total loss of every step by stage, with --hashes also a hash of every final tensor.
tests/models/flashlips/test_losses.py compares them with stored ones, bench/same_numerics.py with
those of another revision; for the latter nothing here comes from tests/ or from the rest of bench/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from core.shards import Manifest, write_manifest, write_shard
from core.weights import Store
from models.experts.codec import load_codec
from models.experts.expression import EXPRESSION_DIM
from training.job import train_here
from training.recipes.flashlips import NANO, NANO_NET

STEPS, FRAMES, SIZE, SPEECH = 10, 75, 128, 1088
NET: dict[str, Any] = {
    **NANO_NET,
    "editor": {
        **NANO_NET["editor"],
        "unet": {"channels": [32, 48, 64], "blocks": 1, "mid": 1, "groups": 16},
    },
}


class Losses:
    """A tracker that keeps the total loss of every step."""

    def __init__(self) -> None:
        self.total: list[float] = []

    def params(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Those of a training step; a validation has none."""
        if "loss/total" in values:
            assert step == len(self.total) + 1, f"step {step} after {len(self.total)}"
            self.total.append(values["loss/total"])

    def artifact(self, path: Path, folder: str = "") -> None:
        """Nothing."""


def person(name: str, seed: int, codec: Any) -> dict[str, Any]:
    """A clip whose mouth is a dark bar that follows its speech."""
    rng = np.random.default_rng(seed)
    move = (np.sin(np.arange(FRAMES) * (0.5 + 0.1 * seed)) * 0.5 + 0.5).astype(np.float32)
    crop = np.empty((FRAMES, SIZE, SIZE, 3), np.uint8)
    crop[:] = rng.integers(90, 220, 3)
    mask, lips = np.zeros((2, FRAMES, SIZE, SIZE), bool)
    mask[:, 56:120, 24:104] = True
    for t in range(FRAMES):
        half = 2 + round(10 * float(move[t]))
        crop[t, 76 - half : 76 + half, 48:80] = 25
        lips[t, 76 - half : 76 + half, 48:80] = True
    noise = rng.normal(size=(FRAMES, SPEECH)).astype(np.float32)
    x = torch.from_numpy(crop).permute(0, 3, 1, 2).float() / 127.5 - 1
    hidden = x.masked_fill(torch.from_numpy(mask)[:, None], 0.0)
    with torch.inference_mode():
        source, masked = (codec.encode(z).numpy().astype(np.float16) for z in (x, hidden))
    return {
        "key": name,
        "info": {"clip": name, "source": f"{name}.mp4", "speaker": name, "split": "train",
                 "first_frame": 0, "clip_frames": FRAMES, "fps": 25, "facts": {}},
        "crop": crop, "mask": mask, "lips_mask": lips,
        "latent_source": source, "latent_masked": masked,
        "expression": move[:, None] + 0.01 * noise[:, :EXPRESSION_DIM],
        "speech": (move[:, None] + 0.1 * noise).astype(np.float16),
        "pose": np.zeros((FRAMES, 3), np.float32),
        "opening": move * 0.1,
        "landmarks": np.zeros((FRAMES, 468, 3), np.float32),
    }  # fmt: skip


def write_people(folder: Path) -> Path:
    """Shards of two toy people."""
    codec = load_codec("slim", Store(()))
    people = [person(name, seed, codec) for seed, name in enumerate(("anna", "ben"))]
    file = write_shard(folder / "shard-00000.tar", people)
    origin = {"codec": codec.id, "crop": f"flashlips@{SIZE}", "speech": NET["speech_encoder"]}
    write_manifest(folder, Manifest(origin, [file], {"ok": len(people)}))
    return folder


def run(folder: Path, steps: int = STEPS) -> dict[str, dict[str, Any]]:
    """Trains every stage for a few steps in ``folder``.

    Returns:
        By stage: ``losses``, the total of every step; ``weights``, a hash of every final tensor.
    """
    torch.set_num_threads(1)
    shards, found, made = write_people(folder / "shards"), {}, {}
    for make in NANO:
        recipe = replace(
            make(), net=NET, steps=steps, batch=4, held_out_samples=2, threads=1, log_every=1,
            save_half=False,
        )  # fmt: skip
        parents = {} if recipe.stage == "reconstruction" else {**made}
        losses = Losses()
        ref = train_here(recipe, shards, parents, folder / recipe.stage, Store(()), losses)
        if recipe.stage == "reconstruction":
            made[recipe.stage] = ref
        tensors = {
            name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]
            for name, tensor in sorted(load_file(ref.weights).items())
        }
        found[recipe.stage] = {"losses": losses.total, "weights": tensors}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--hashes", action="store_true", help="of the final weights as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="numerics-") as folder:
        found = run(Path(folder), options.steps)
    if not options.hashes:
        found = {stage: each["losses"] for stage, each in found.items()}
    # Not by the house's own writer: this file runs in older revisions, too.
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
