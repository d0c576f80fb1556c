"""How fast are the paper's networks on a GPU, and what does each trick gain?

    python bench/gpu.py [--only WORD ...] [--rest] [--limit-s 540] [--out FILE]
    python bench/gpu.py --tiny [--out FILE]     small nets on the CPU, to see that it runs

Rows are parts (encode, edit, decode) and whole pipelines from latents or uint8 frames to uint8
frames, all on the device: the SDXL VAE or a tiny codec (TAESD's layout, ours) and the editor with
the UNet or the ViT of Tables A.1 and A.2. Weights are random, which costs the same. Features of the
reference are cached; "source cached" has the source's latent as well, as when a clip is used again.
Each row is timed eagerly in float32 (TF32 as torch has it: in convolutions, not in products) and
bf16, then with one trick more at a time: CUDA graph, channels_last, compiled, both, batches.
A time is the median of 10 runs of a clip after 5 to warm up, on a GPU between events. ``gain`` is
over the variant to which the trick was added, ``over_eager`` over eager float32 of the same run,
``of_peak`` the rate over that of a large bf16 product, ``error`` the difference to eager float32.
``overlap``: what of copying frames to the GPU and back hides behind editing them.

It needs torch, diffusers, safetensors and numpy, and this repository. Rows come in order of
importance; those that ``--limit-s`` leaves no time for say so, and ``--rest`` takes them up.
Writes bench/results/gpu.json after each row (a --tiny run only writes where --out says); rows that
were not run keep their last result.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from gpu_copies import overlap
from gpu_nets import PAPER, SMALL, Unit, Workshop
from gpu_timing import (
    BATCHED,
    EAGER,
    LADDER,
    VARIANTS,
    Bench,
    Protocol,
    Variant,
    ceilings,
    reason,
)  # fmt: skip

from core.files import read_json, write_json
from evaluation.machine import machine, revision

OUT = Path(__file__).parent / "results" / "gpu.json"
Chain = tuple[Unit, ...]


# -- what is measured -----------------------------------------------------------------------------


def pipeline(codec: str, net: str, size: int, encoded: bool = True) -> Chain:
    """Frames (or, without the encode, the source's latents) to frames."""
    edit, decode = Unit("edit", net, size), Unit("decode", codec, size)
    return (Unit("encode", codec, size), edit, decode) if encoded else (edit, decode)


UNET_512, VIT_512 = "UNet 512, source cached", "ViT 512, source cached"
UNET_512_ALL, VIT_512_ALL = "UNet 512, with the encode", "ViT 512, with the encode"
TINY_256 = "UNet 256, tiny codec, with the encode"
OVERLAP = "overlap"
PIPELINES: dict[str, Chain] = {
    UNET_512: pipeline("sdxl", "unet", 512, encoded=False),
    VIT_512: pipeline("sdxl", "vit", 512, encoded=False),
    TINY_256: pipeline("tiny", "unet", 256),
    UNET_512_ALL: pipeline("sdxl", "unet", 512),
    VIT_512_ALL: pipeline("sdxl", "vit", 512),
    "UNet 256, tiny codec, source cached": pipeline("tiny", "unet", 256, encoded=False),
    "UNet 256, with the encode": pipeline("sdxl", "unet", 256),
    "UNet 256, source cached": pipeline("sdxl", "unet", 256, encoded=False),
    "ViT 256, with the encode": pipeline("sdxl", "vit", 256),
    "ViT 256, source cached": pipeline("sdxl", "vit", 256, encoded=False),
    "ViT 256, tiny codec, with the encode": pipeline("tiny", "vit", 256),
    "UNet 512, tiny codec, with the encode": pipeline("tiny", "unet", 512),
    "UNet 256, slim codec, with the encode": pipeline("slim", "unet-slim", 256),
}
PARTS: dict[str, Chain] = {
    f"part: {kind} {net} {size}": (Unit(kind, net, size),)
    for size in (512, 256)
    for kind, net in (
        ("encode", "sdxl"), ("edit", "unet"), ("edit", "vit"), ("decode", "sdxl"),
        ("encode", "tiny"), ("decode", "tiny"),
    )
}  # fmt: skip
SUBJECTS = {**PIPELINES, **PARTS}
WANTED = {
    UNET_512: (109.41, "Table 2, UNet; the paper does not say whether its loop encodes"),
    VIT_512: (66.84, "Table 2, Transformer"),
    UNET_512_ALL: (109.41, "Table 2, UNet, when its loop encodes"),
    VIT_512_ALL: (66.84, "Table 2, Transformer, when its loop encodes"),
    TINY_256: (1000.0, "the 256 crop with the 211 M UNet and a tiny codec"),
}
"""Frames a second that each must exceed, on an H100 or H200."""


def plan() -> list[tuple[str, Sequence[Variant]]]:
    """In order of importance; a part comes when a pipeline has had it compiled."""
    head = (UNET_512, VIT_512, TINY_256)
    rest = [name for name in PIPELINES if name not in head]
    first, later = rest[:3], rest[3:]
    known = {unit for name in (*head, *first) for unit in PIPELINES[name]}
    parts = [name for name, (unit,) in PARTS.items() if unit in known]
    return [
        *((name, LADDER) for name in head),
        (TINY_256, BATCHED),
        *((name, LADDER) for name in first),
        (OVERLAP, ()),
        *((name, LADDER) for name in parts),
        *((name, BATCHED) for name in (*head[:2], *first)),
        *((name, VARIANTS) for name in later),
        *((name, BATCHED) for name in parts),
        *((name, VARIANTS) for name in PARTS if name not in parts),
    ]


# -- the run --------------------------------------------------------------------------------------


class Report:
    """The results' file: what earlier runs found, and what this one finds.

    Args:
        path: None writes nowhere. on: what this run's numbers were measured on.
        fresh: forgets what is there.
    """

    def __init__(self, path: Path | None, on: Mapping[str, Any], fresh: bool) -> None:
        known = path is not None and path.exists() and not fresh
        self.path, self.on = path, on
        self.all: dict[str, Any] = read_json(path) if known else {"rows": {}}
        self.touched: set[str] = set()

    def settled(self, name: str) -> bool:
        """Whether earlier runs left nothing of a row to the next."""
        if name == OVERLAP:
            return "not_run" not in self.all.get(OVERLAP, {"not_run": ""})
        variants = self.all["rows"].get(name, {}).get("variants", {})
        missing = [v.name for v in VARIANTS if variants.get(v.name, {}).get("not_run") == "time"]
        return not missing and len(variants) == len(VARIANTS)

    def add(self, name: str, variant: Variant, row: Mapping[str, Any]) -> None:
        """One variant's row, with its gains; an earlier run's rows of the same name go."""
        rows = self.all["rows"]
        if name not in self.touched:
            if "ms" not in row and "failed" not in row and name in rows:
                return  # nothing new to say of what an earlier run knows
            rows[name] = {"on": self.on, "variants": {}}
            self.touched.add(name)
        variants = rows[name]["variants"]
        variants[variant.name] = {k: v for k, v in row.items() if k != "gflop"}
        rows[name] |= {k: v for k, v in row.items() if k == "gflop"}  # the same for all
        for key, other in (("over_eager", EAGER.name), ("gain", variant.after)):
            if "ms" in row and "ms" in variants.get(other, {}):
                ratio = variants[other]["ms"] / row["ms"]
                variants[variant.name][key] = round(ratio, 2)
        self.write()

    def overlap(self, found: Mapping[str, Any]) -> None:
        """What overlapping gains, unless there is nothing new to say."""
        if "not_run" not in found or OVERLAP not in self.all:
            self.all[OVERLAP] = {**found, "on": self.on}
        self.write()

    def write(self) -> None:
        """The file as it stands, with what was wanted."""
        self.all["wanted"] = {name: judged(name, self.all["rows"]) for name in WANTED}
        if self.path is not None:
            write_json(self.path, self.all)


def judged(name: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    """A row's best variant, and the best that takes frames one by one, against what is wanted."""
    wanted, meaning = WANTED[name]
    batches = {v.name: v.batch for v in VARIANTS}
    row = rows.get(name, {"on": {"tiny": False}, "variants": {}})
    fps = {k: v["fps"] for k, v in row["variants"].items() if "fps" in v}
    found: dict[str, Any] = {"wanted_fps": wanted, "meaning": meaning, "met": None}
    if fps and not row["on"]["tiny"]:
        best = max(fps, key=lambda key: fps[key])
        single = [value for key, value in fps.items() if batches.get(key) == 1]
        found |= {"best": best, "fps": fps[best], "fps_one_by_one": max(single, default=None)}
        found["met"] = fps[best] > wanted
    return found


def run(bench: Bench, report: Report, names: Sequence[str], limit_s: float) -> None:
    """All rows of ``names`` that there is time for."""
    end = time.monotonic() + limit_s
    for name, variants in plan():
        if name not in names:
            continue
        if name == OVERLAP:
            found = overlaps(bench, end)
            print(f"{name}: {found}", flush=True)
            report.overlap(found)
        for variant in variants:
            chain, late = SUBJECTS[name], {"not_run": "time"}
            enough = time.monotonic() + bench.estimate_s(chain, variant) < end
            row = bench.row(chain, variant) if enough else late
            report.add(name, variant, row)
            said = {k: row[k] for k in ("ms", "fps", "of_peak", "failed", "not_run") if k in row}
            print(f"{name:<40} {variant.name:<32} {said}", flush=True)


def overlaps(bench: Bench, end: float) -> dict[str, Any]:
    """Copying behind editing, in batches of 16 and one by one."""
    if bench.device != "cuda":
        return {"not_run": "streams need CUDA"}
    found: dict[str, Any] = {"pipeline": TINY_256}
    for variant in (BATCHED[0], LADDER[-1]):
        if time.monotonic() + 5 + bench.estimate_s(PIPELINES[TINY_256], variant) > end:
            return {"not_run": "time"}
        try:
            with torch.no_grad():
                found[variant.name] = overlap(bench, PIPELINES[TINY_256], variant)
        except Exception as error:  # noqa: BLE001 - as for the rows
            found[variant.name] = {"failed": reason(error)}
    return found


def measured_on(args: argparse.Namespace, peak: Mapping[str, float]) -> dict[str, Any]:
    """Device, versions, date, revision and settings of a run."""
    cuda = torch.cuda.is_available() and not args.tiny
    try:
        diffusers = version("diffusers")
    except PackageNotFoundError:
        diffusers = "absent"
    return {
        "device": torch.cuda.get_device_name() if cuda else machine()["processor"],
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "diffusers": diffusers,
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "revision": args.revision or revision(),
        "ceilings": dict(peak),
        "cudnn_benchmark": args.cudnn_benchmark,
        "compiler": f"{args.backend} {args.mode}",
        "tiny": args.tiny,
    }


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's, checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="WORD", help="rows whose name holds a word")
    parser.add_argument("--rest", action="store_true", help="rows that --out does not have yet")
    parser.add_argument("--tiny", action="store_true", help="small nets on the CPU")
    parser.add_argument("--limit-s", type=float, default=540.0, help="no row starts after this")
    parser.add_argument("--out", type=Path, help="default: bench/results/gpu.json")
    parser.add_argument("--backend", help="of torch.compile; with --tiny eager, else inductor")
    parser.add_argument("--mode", default="default", help="of inductor")
    parser.add_argument(
        "--cudnn-benchmark", action="store_true",
        help="cuDNN tries its algorithms (it keeps its first choice, so this is for a whole run)",
    )  # fmt: skip
    parser.add_argument("--revision", help="of the code, where git can't tell")
    args = parser.parse_args(words)
    if not args.tiny and not torch.cuda.is_available():
        parser.error("no CUDA device here; --tiny runs small nets on the CPU")
    everything = [*SUBJECTS, OVERLAP]
    args.names = [n for n in everything if not args.only or any(word in n for word in args.only)]
    if not args.names:
        parser.error(f"no row is called that; there are {', '.join(everything)}")
    args.out = args.out or (None if args.tiny else OUT)
    args.backend = args.backend or ("eager" if args.tiny else "inductor")
    return args


def main() -> None:
    args = arguments()
    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    # A step is compiled anew for each net, size and batch; beyond 8 torch would give up.
    torch._dynamo.config.recompile_limit = 256
    compiler = {"backend": args.backend, "dynamic": False, "fullgraph": True}
    if args.backend == "inductor":
        compiler["mode"] = args.mode
    if args.tiny:
        workshop = Workshop(SMALL, "cpu", compiler)
        protocol, peak = Protocol(1, 2, 0.0, 0.0), ceilings("cpu", 256, 4)
    else:
        workshop = Workshop(PAPER, "cuda", compiler)
        protocol, peak = Protocol(), ceilings("cuda", 8192, 4000)
    report = Report(args.out, measured_on(args, peak), fresh=args.tiny)
    names = [n for n in args.names if not (args.rest and report.settled(n))]
    print(f"{report.on['device']}, torch {torch.__version__}: {peak}", flush=True)
    bench = Bench(workshop, protocol, peak["bf16_tflop_per_s"])
    run(bench, report, names, args.limit_s)
    for name, found in report.all.get("wanted", {}).items():
        print(f"wanted: {name}: {found}")


if __name__ == "__main__":
    main()
