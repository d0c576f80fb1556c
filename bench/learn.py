"""Does it learn? The gates on synthetic people and on real clips, in one JSON.

    python bench/learn.py [--minutes 10] [--clips FOLDER] [--only nano personalise sound curve]

``nano``: the shipped checkpoint on synthetic people nobody trained on, and its mask-free claim.
``personalise``: four real clips, at most ``--minutes`` of training each. ``sound``: does the mouth
follow this sound? ``curve``: what 5, 10 and 20 minutes give. Each part adds to
bench/results/learn.json; the clips' folder is named by
FLASHLIPS_CLIPS or --clips. Run it again after an interruption: finished parts are kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from core.files import read_json, write_json
from evaluation.clip_data import ClipData, read_clips
from evaluation.machine import machine, revision
from evaluation.observer import Observer
from flows.console import Console
from flows.learn import Subject, held_out, mask_free_numbers, sound, speech_by_speaker
from flows.nano import nano_shards
from flows.personalise import personalise
from flows.recipes import nano
from flows.work import NANO
from infra.settings import quiet, settings
from models.flashlips.renderers import FlashLipsRenderers

OUT = Path(__file__).parent / "results" / "learn.json"
CLIPS = {
    "demo1": "LatentSync__demo1_video.mp4",
    "demo2": "LatentSync__demo2_video.mp4",
    "aoc": "SadTalker__WDA_AlexandriaOcasioCortez_000.mp4",
    "obama": "EDTalk__uncrop_Obama.mp4",
}
LONG = ("demo2", "obama")
"""The clips of 18 s or longer: enough held-out time for the sound test."""


def store(part: str, value: Any, started: float) -> None:
    facts = read_json(OUT) if OUT.exists() else {}
    facts[part] = {
        **value,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "minutes_taken": round((time.monotonic() - started) / 60, 1),
    }
    facts["machine"] = machine()
    write_json(OUT, facts)


def on_nano(tools: Any) -> dict[str, Any]:
    """Synthetic people never trained on: 3 dB above copying, opening r; mask-free claim."""
    others = nano().speakers()
    draw, observer = FlashLipsRenderers(NANO, tools.store), tools.observer
    chosen: Callable[[Any], bool] = lambda info: info["speaker"] in others  # noqa: E731
    shards = nano_shards()
    return {
        "held_out_people": held_out(Subject("synthetic", shards, NANO), draw, observer, chosen),
        "mask_free": mask_free_numbers(shards, draw, observer, chosen),
        "codec": draw.system.codec.id,
    }


def on_person(
    tools: Any, name: str, file: Path, minutes: float, folder: str = "learn"
) -> dict[str, Any]:
    """One real clip: personalise, then everything on its held-out time."""
    made = personalise(file, settings().runs / folder / name, minutes)
    draw = FlashLipsRenderers(made.checkpoint, tools.store)
    subject = Subject(name, made.shards, made.checkpoint)
    return {
        "minutes": minutes,
        "threads": settings().threads,
        "systems": held_out(subject, draw, tools.observer),
        "mask_free": mask_free_numbers(made.shards, draw, tools.observer),
        "codec": draw.system.codec.id,
    }


CURVE = (5.0, 10.0, 20.0)
"""Minutes of training."""


def on_curve(tools: Any, name: str, file: Path) -> dict[str, Any]:
    """The same clip at each of ``CURVE``'s minutes, from the same generic checkpoint."""
    points = {}
    for minutes in CURVE:
        found = on_person(tools, f"{name}-{minutes:g}", file, minutes, "curve")
        ours, near = found["systems"]["reconstruction"], found["systems"]["nearest_frame"]
        points[f"{minutes:g}"] = {
            "psnr_over_nearest_db": ours["psnr"] - near["psnr"],
            "ssim_over_nearest": ours["ssim"] - near["ssim"],
            "lmd_ratio": ours["lmd"] / near["lmd"],
            **{key: ours[key] for key in ("opening_r", "opening_slope", "sharpness")},
            "mask_free": found["mask_free"],
        }
    return {"threads": settings().threads, "minutes": points}


def draw_curves(facts: dict[str, Any], path: Path) -> None:
    """Numbers over minutes of training, a line for each clip."""
    from matplotlib.figure import Figure

    found = {k.removeprefix("curve_"): v for k, v in facts.items() if k.startswith("curve_")}
    keys = ("psnr_over_nearest_db", "ssim_over_nearest", "lmd_ratio", "opening_slope", "sharpness")
    figure = Figure(figsize=(2.8 * len(keys), 2.6), layout="constrained")
    for axis, key in zip(figure.subplots(1, len(keys)), keys, strict=True):
        for name, curve in found.items():
            points = sorted((float(m), row[key]) for m, row in curve["minutes"].items())
            label = f"{name}, {curve['threads']} core" + "s" * (curve["threads"] > 1)
            axis.plot(*zip(*points, strict=True), "o-", ms=4, label=label)
        axis.set_title(key.replace("_", " "), fontsize=9)
        axis.set_xlabel("minutes", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower right", fontsize=7)
    figure.savefig(path, dpi=120)


def sound_subjects(tools: Any, names: Sequence[str]) -> Iterator[tuple[ClipData, Any]]:
    """Clips of the sound test with what renders them: long ones, synthetic strangers."""
    for name in (n for n in names if n != "synthetic"):
        folder = settings().runs / "learn" / name
        draw = FlashLipsRenderers(folder / "system", tools.store)
        for clip in read_clips(folder / "shards", tools.observer):
            yield clip, draw
    if "synthetic" in names:
        draw, others = FlashLipsRenderers(NANO, tools.store), nano().speakers()
        for clip in read_clips(nano_shards(), tools.observer, lambda i: i["speaker"] in others):
            yield clip, draw


def on_sound(tools: Any, names: Sequence[str]) -> None:
    """The sound test; each clip is stored when done."""
    shards = nano_shards()
    folders = [settings().runs / "learn" / n / "shards" for n in LONG]
    speech = speech_by_speaker([shards, *folders])
    for clip, draw in sound_subjects(tools, names):
        start = time.monotonic()
        found = sound(clip, draw, tools.observer, speech, tools.console)
        store(f"sound_{clip.name}", found, start)


def gates(facts: dict[str, Any]) -> dict[str, Any]:
    """The issue's numbers out of what was measured; a miss is listed by clip."""
    verdict: dict[str, Any] = {}
    if "nano" in facts:
        people = facts["nano"]["held_out_people"]
        gain = people["reconstruction"]["psnr"] - people["copy_reference"]["psnr"]
        verdict["synthetic_gain_over_copy_db (>= 3)"] = gain
        verdict["synthetic_opening_r (>= 0.9)"] = people["reconstruction"]["opening_r"]
    persons = {n: facts[f"personalise_{n}"] for n in CLIPS if f"personalise_{n}" in facts}
    if persons:
        ours = {n: p["systems"]["reconstruction"] for n, p in persons.items()}
        near = {n: p["systems"]["nearest_frame"] for n, p in persons.items()}
        gain = {n: ours[n]["psnr"] - near[n]["psnr"] for n in ours}
        ssim = [ours[n]["ssim"] - near[n]["ssim"] for n in ours]
        verdict |= {
            "psnr_over_nearest_db (median >= 1.5, none below 0)": gain,
            "psnr_over_nearest_db median": float(np.median(list(gain.values()))),
            "ssim_over_nearest median (>= 0.08)": float(np.median(ssim)),
            "lmd_ratio (<= 0.65)": {n: ours[n]["lmd"] / near[n]["lmd"] for n in ours},
            "opening_r (>= 0.90)": {n: ours[n]["opening_r"] for n in ours},
            "opening_slope (0.65..1.15)": {n: ours[n]["opening_slope"] for n in ours},
            "sharpness (0.85..1.15)": {n: ours[n]["sharpness"] for n in ours},
            "mask_free": {n: p["mask_free"] for n, p in persons.items()},
        }
    heard = {k.removeprefix("sound_"): v for k, v in facts.items() if k.startswith("sound_")}
    if heard:
        verdict |= {
            "sound: opening r beats other speech (p <= 0.02)": _of(heard, "opening_r_p"),
            "sound: LMD beats other speech (p <= 0.02)": _of(heard, "lmd_p"),
            "sound: r, its own 10 frames early and late": {
                n: [h["opening_r"], h["r_10_early"], h["r_10_late"]] for n, h in heard.items()
            },
            "sound: r over the ridge's (>= 0)": {
                n: h["opening_r"] - h["ridge_r"] for n, h in heard.items()
            },
        }
    return verdict


def _of(heard: dict[str, Any], key: str) -> dict[str, float]:
    return {name: numbers[key] for name, numbers in heard.items()}


class Tools:
    """What every part needs."""

    def __init__(self) -> None:
        self.store = settings().store()
        self.observer = Observer.from_store(self.store)
        self.console = Console()


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clips", type=Path, default=settings().clips or Path())
    parser.add_argument("--only", nargs="*", default=["nano", "personalise", "sound"])
    parser.add_argument("--people", nargs="*", default=list(CLIPS))
    parser.add_argument("--heard", nargs="*", default=[*LONG, "synthetic"])
    a = parser.parse_args()
    tools = Tools()
    if "nano" in a.only:
        start = time.monotonic()
        store("nano", on_nano(tools), start)
    for name in a.people if "personalise" in a.only else ():
        start, file = time.monotonic(), a.clips / CLIPS[name]
        if not file.is_file():
            tools.console.say(f"skipped {name}: no {file.name} in the clips' folder")
            continue
        store(f"personalise_{name}", on_person(tools, name, file, a.minutes), start)
    for name in a.people if "curve" in a.only else ():
        start = time.monotonic()
        store(f"curve_{name}", on_curve(tools, name, a.clips / CLIPS[name]), start)
        draw_curves(read_json(OUT), OUT.with_name("curve.png"))
    if "sound" in a.only:
        on_sound(tools, a.heard)
    facts = read_json(OUT)
    facts["gates"] = gates(facts)
    write_json(OUT, facts)
    for key, value in facts["gates"].items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
