"""What does a stage 1 step cost a sample, and what does each of the recipe's cost levers save?

    python bench/train_step.py [--only counted nano cuda] [--quick]

``counted``: FLOPs and bytes of forward and backward at the paper's sizes (the SDXL VAE, VGG-19,
VGGFace2's ResNet-50, TAESD as the tiny decoder), through the real objective on the meta device: no
weights, no waiting. Bytes are those of all inputs and outputs of every operation in bf16, nothing
fused and nothing kept in a cache: an upper bound (attention writes its whole matrix, which is most
of the ViT's bytes). The optimiser is left out: its cost is a batch's, not a sample's. ``nano``:
seconds of real steps of ``nano_reconstruction`` on this CPU, with TAEF2's latents, slim's decoder
as the tiny one and no perceptual term. ``cuda``: the paper's sizes on a GPU. Weights and batches
are random, which costs the same. Ratios are to the plain step of the same run: three encodes, the
whole decode, all the recipe's terms.
Writes bench/results/train_step.json; parts that were not run keep their last result.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from core.files import read_json, write_json
from core.weights import Store
from evaluation.machine import machine, revision
from models.experts.codec import Codec, load_slim
from models.experts.codecs.diffusers import DiffusersBody
from models.experts.codecs.slim import LATENT_SCALE
from models.experts.codecs.taef2 import CHANNELS, Taef2
from models.flashlips import reconstruction
from models.flashlips.reconstruction import Reconstruction
from models.losses.perceptual import BACKBONES
from training.checkpointing import named_parameters
from training.optim import clip_gradients, make_optimizer
from training.recipe import TrainRecipe
from training.recipes import flashlips as recipes

OUT = Path(__file__).parent / "results" / "train_step.json"
PLAIN = "plain: encode online, decode all"
BATCH = 4
WANTED = {"plain over cached, 256 crop, in FLOPs at 512 (UNet)": 2.5}

Window = tuple[int, int, int, int]


# -- what is compared -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """Fields of ``net``, and the moments of a run that stand for its phases: (share, progress)."""

    name: str
    net: Mapping[str, Any]
    phases: tuple[tuple[float, float], ...] = ((1.0, 0.0),)


def variants(windows: Mapping[str, Window], tiny: str) -> list[Variant]:
    """The levers one by one and together; ``windows`` by name, the smallest last."""
    crop, smallest = list(windows.items())[-1]
    window, decoder = {"pixel_window": smallest}, {"pixel_decoder": tiny}
    mixed = {**window, **decoder, "pixel_from": 0.4, "pixel_decoder_until": 0.8}
    return [
        Variant(PLAIN, {"encode_online": True}),
        Variant(f"encode online, {crop}", {"encode_online": True, **window}),
        Variant("cached latents", {}),
        *(Variant(f"cached, {name}", {"pixel_window": w}) for name, w in windows.items()),
        Variant("cached, pixels of 25 %", {"pixel_fraction": 0.25}),
        Variant(f"cached, {crop}, pixels of 50 %", {**window, "pixel_fraction": 0.5}),
        Variant("cached, tiny decoder", decoder),
        Variant(f"cached, tiny decoder, {crop}", {**decoder, **window}),
        Variant("latents only", {"pixel_from": 1.0}),
        Variant(
            f"{crop}: 40 % latents only, 40 % tiny decoder, 20 % own",
            mixed,
            ((0.4, 0.0), (0.4, 0.5), (0.2, 0.9)),
        ),
    ]


def around_mouth(latents: int, side: int) -> Window:
    """A square of ``side`` latents about the mouth of a crop that is ``latents`` wide."""
    top = min(latents - side, round(0.68 * latents - side / 2))
    left = (latents - side) // 2
    return top, top + side, left, left + side


def paper_windows(size: int) -> dict[str, Window]:
    """The 320 and 256 px crops of a 512 px face, likewise of other sizes."""
    latents = size // 8
    sides = (latents * 5 // 8, latents // 2)
    return {f"{side * 8} crop": around_mouth(latents, side) for side in sides}


def paper_codecs() -> dict[str, Codec]:
    """The SDXL VAE and TAESD as their configs have them, on the current device, untrained."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    sdxl = AutoencoderKL(
        down_block_types=down,
        up_block_types=up,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.13025,
    )
    return {"sdxl": _codec("sdxl", sdxl, 0.13025), "taesd": _codec("taesd", AutoencoderTiny(), 1.0)}


def _codec(name: str, net: nn.Module, scale: float) -> Codec:
    # The id is a hash of weights, and tensors on the meta device have no values to hash.
    codec = Codec(name, nn.Identity(), 4, 8, scale)
    codec.body = DiffusersBody(net).eval().requires_grad_(False)
    return codec


def nano_codecs() -> dict[str, Codec]:
    """TAEF2, untrained, and slim, whose decoder stands in for its own."""
    return {
        "taef2": Codec("taef2", Taef2(), CHANNELS, 8, LATENT_SCALE),
        "slim": Codec("slim", load_slim(), CHANNELS, 8, LATENT_SCALE),
    }


class Subject:
    """The objective of one recipe under each variant, all with the same nets, and a batch.

    Args:
        recipe: of reconstruction. codecs: by name, that of the latents first.
        cases: what is compared. size: crop's side in pixels. device: where.
    """

    def __init__(
        self,
        recipe: TrainRecipe,
        codecs: Mapping[str, Codec],
        cases: Sequence[Variant],
        size: int,
        device: str,
    ) -> None:
        self.recipe, self.cases, self.device = recipe, cases, device
        own, backbones = next(iter(codecs.values())), {}
        for term in recipe.net.get("perceptual", ()):
            backbones[term] = BACKBONES[term][1]().eval().requires_grad_(False)
        with mock.patch.multiple(
            reconstruction,
            load_codec=lambda name, store: codecs[name],
            load_backbone=lambda term, store: backbones[term],
        ):
            self.objectives = [
                Reconstruction({**recipe.net, **case.net}, {}, {"codec": own.id}, Store(()))
                for case in cases
            ]
        self.parts = self.objectives[0].trainable()
        self.parameters = named_parameters(self.parts)
        for objective in self.objectives:
            objective.parts = dict(self.parts)
        self.batch = random_batch(recipe, size)

    def moments(self, case: int) -> list[tuple[float, Any, float]]:
        """(share, what is done, progress) of a variant; equal things done cost the same."""
        objective, found = self.objectives[case], []
        for share, progress in self.cases[case].phases:
            objective.at(progress)
            compare = objective.compare
            count = compare.pixels_of(BATCH)
            pixels = (count, compare.decoder.id, compare.levers.window) if count else ()
            found.append((share, (objective.online is not None, pixels), progress))
        return found

    def loss(self, case: int, progress: float) -> Any:
        """The weighted loss of the batch, as the loop has it."""
        objective = self.objectives[case]
        objective.at(progress)
        terms = objective.losses(self.batch, torch.Generator().manual_seed(0))
        weights = self.recipe.loss_weights.items()
        return torch.stack([w * terms[n].float() for n, w in weights if w]).sum()

    def forget(self) -> None:
        """Drops the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)


def random_batch(recipe: TrainRecipe, size: int) -> dict[str, Any]:
    """What the loop gives, on the current device: noise, M and lips where they mostly are."""
    net, latents = recipe.net, size // 8
    mask = torch.zeros(BATCH, size, size, dtype=torch.bool)
    mask[:, size // 2 : size * 9 // 10, size // 5 : size * 4 // 5] = True
    lips = torch.zeros_like(mask)
    lips[:, size * 6 // 10 : size * 7 // 10, size * 2 // 5 : size * 3 // 5] = True
    batch: dict[str, Any] = {}
    for frame in ("", "_reference"):
        batch |= {f"mask{frame}": mask, f"lips_mask{frame}": lips}
        batch[f"crop{frame}"] = torch.randint(0, 256, (BATCH, size, size, 3), dtype=torch.uint8)
        batch[f"expression{frame}"] = torch.randn(BATCH, net["expression"])
        for name in ("latent_source", "latent_masked"):
            batch[f"{name}{frame}"] = torch.randn(BATCH, net["latent"], latents, latents)
    return batch


# -- counting -------------------------------------------------------------------------------------


class Traffic(TorchDispatchMode):
    """Bytes of all tensors that operations read and write; floats count as bf16, views nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = (t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor))
            self.bytes += sum(
                t.numel() * (2 if t.is_floating_point() else t.element_size()) for t in tensors
            )
        return out


def counted_on(subject: Subject) -> dict[str, dict[str, float]]:
    """GFLOP and GB of a sample by variant, forward and backward without the optimiser."""
    known: dict[Any, tuple[float, float]] = {}
    rows = {}
    for number, case in enumerate(subject.cases):
        flops = moved = 0.0
        for share, key, progress in subject.moments(number):
            if key not in known:
                subject.forget()
                with FlopCounterMode(display=False) as counter, Traffic() as traffic:
                    subject.loss(number, progress).backward()
                known[key] = (counter.get_total_flops() / BATCH, traffic.bytes / BATCH)
            flops, moved = flops + share * known[key][0], moved + share * known[key][1]
        rows[case.name] = {"gflop": round(flops / 1e9, 1), "gb": round(moved / 1e9, 3)}
    return rows


def over_plain(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The rows with how many times cheaper than the plain step each is."""
    plain = rows[PLAIN]
    for row in rows.values():
        for key in ("gflop", "gb"):
            row[f"plain_over_this_{key}"] = round(plain[key] / row[key], 2)
    return rows


def on_meta(recipe: TrainRecipe, size: int) -> dict[str, dict[str, float]]:
    """Counts of the paper's sizes."""
    with torch.device("meta"):
        cases = variants(paper_windows(size), "taesd")
        subject = Subject(recipe, paper_codecs(), cases, size, "meta")
        return over_plain(counted_on(subject))


def counted(quick: bool) -> dict[str, Any]:
    """The paper's UNet and ViT, for 512 and 256 px."""
    editors = {"unet": recipes.reconstruction()}
    if not quick:
        editors["vit"] = recipes.reconstruction_vit()
    sizes = (256,) if quick else (512, 256)
    rows = {f"{name} {size}": on_meta(r, size) for name, r in editors.items() for size in sizes}
    return {"batch": BATCH, "rows": rows, "wanted": WANTED}


# -- timing ---------------------------------------------------------------------------------------


def step_seconds(subject: Subject, optimizer: Any, case: int, progress: float) -> float:
    """One whole step: loss, gradient, clipping, optimiser."""
    synchronise = torch.cuda.synchronize if subject.device == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    subject.forget()
    with torch.autocast(subject.device, dtype=torch.bfloat16, enabled=subject.recipe.bf16):
        loss = subject.loss(case, progress)
    loss.backward()
    clip_gradients(subject.parameters, subject.recipe.grad_clip)
    optimizer.step()
    synchronise()
    return time.perf_counter() - start


def timed_on(subject: Subject, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a sample by variant; the variants take turns, so that noise hits all."""
    optimizer = make_optimizer(subject.parameters, subject.recipe)
    moments = [subject.moments(number) for number in range(len(subject.cases))]
    plan = {key: (n, progress) for n, m in enumerate(moments) for _, key, progress in m}
    seconds: dict[Any, list[float]] = {key: [] for key in plan}
    peaks: dict[Any, float] = {}
    for turn in range(rounds + 1):
        for key, (number, progress) in plan.items():
            if subject.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            took = step_seconds(subject, optimizer, number, progress)
            if turn:  # the first warms up
                seconds[key].append(took)
            if subject.device == "cuda":
                peaks[key] = torch.cuda.max_memory_allocated() / 1e9
    rows = {}
    totals = [
        [sum(share * seconds[key][turn] for share, key, _ in m) for turn in range(rounds)]
        for m in moments
    ]
    for number, case in enumerate(subject.cases):
        ratios = [plain / this for plain, this in zip(totals[0], totals[number], strict=True)]
        rows[case.name] = {
            "ms": round(1000 * median(totals[number]) / BATCH, 2),
            "plain_over_this_time": round(median(ratios), 2),
        }
        if peaks:
            rows[case.name]["peak_gb"] = round(max(peaks[k] for _, k, _ in moments[number]), 2)
    return rows


def nano(quick: bool) -> dict[str, Any]:
    """Real steps on the CPU, one thread."""
    torch.set_num_threads(1)
    rounds, shipped = 1 if quick else 5, recipes.nano_reconstruction()
    window = tuple(shipped.net["pixel_window"])
    plain = {"latent_jitter": 0.0, "pixel_window": None, "pixel_fraction": 1.0}
    recipe = replace(shipped, net={**shipped.net, **plain})
    subject = Subject(recipe, nano_codecs(), variants({"mouth": window}, "slim"), 128, "cpu")
    return {"batch": BATCH, "rounds": rounds, "threads": 1, "rows": timed_on(subject, rounds)}


def cuda(quick: bool) -> dict[str, Any]:
    """The paper's sizes in bf16, as the loop runs them: eager."""
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: run the other parts, --only counted nano")
    recipe, rounds, rows = recipes.reconstruction(), 3 if quick else 20, {}
    for size in (256,) if quick else (512, 256):
        with torch.device("cuda"):
            cases = variants(paper_windows(size), "taesd")
            subject = Subject(recipe, paper_codecs(), cases, size, "cuda")
            found = timed_on(subject, rounds)
        for name, counts in on_meta(recipe, size).items():
            found[name] |= counts
            found[name]["tflop_per_s"] = round(counts["gflop"] / found[name]["ms"], 1)
        rows[f"unet {size}"] = found
        del subject
        torch.cuda.empty_cache()
    name = torch.cuda.get_device_name()
    return {"batch": BATCH, "rounds": rounds, "device": name, "rows": rows}


# -- report ---------------------------------------------------------------------------------------


def show(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """A table: a row for each variant."""
    heads = list(next(iter(rows.values())))
    print(f"\n{title:<58}" + "".join(f"{head:>22}" for head in heads))
    for name, row in rows.items():
        print(f"{name:<58}" + "".join(f"{row[head]:>22}" for head in heads))


PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "counted": counted, "nano": nano, "cuda": cuda,
}  # fmt: skip


def main() -> None:
    here = [name for name in PARTS if name != "cuda" or torch.cuda.is_available()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=here)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    report: dict[str, Any] = read_json(args.out) if args.out.exists() else {}
    for name in args.only:
        found = PARTS[name](args.quick) | {"quick": args.quick}
        found |= {"date": datetime.date.today().isoformat(), "load_average": os.getloadavg()[0]}
        report[name] = found | {"revision": revision(), "machine": machine()}
        tables = {"nano 128": found["rows"]} if name == "nano" else found["rows"]
        for title, rows in tables.items():
            show(title, rows)
        write_json(args.out, report)


if __name__ == "__main__":
    main()
