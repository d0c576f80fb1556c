"""Does it learn? The gates on synthetic people and on real clips, in one JSON.

    python bench/learn.py [--minutes 10] [--clips FOLDER] [--only nano personalise sound]

``nano``: the shipped checkpoint on synthetic people nobody trained on, and its mask-free claim.
``personalise``: four real clips, at most ``--minutes`` of training each. ``sound``: does the mouth
follow this sound? Each part adds to bench/results/learn.json; the clips' folder is named by
FLASHLIPS_CLIPS or --clips. Run it again after an interruption: finished parts are kept.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from core.files import read_json, write_json
from evaluation.clip_data import read_clips
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


def on_person(tools: Any, name: str, file: Path, minutes: float) -> dict[str, Any]:
    """One real clip: personalise, then everything on its held-out time."""
    made = personalise(file, settings().runs / "learn" / name, minutes)
    draw = FlashLipsRenderers(made.checkpoint, tools.store)
    subject = Subject(name, made.shards, made.checkpoint)
    return {
        "minutes": minutes,
        "systems": held_out(subject, draw, tools.observer),
        "mask_free": mask_free_numbers(made.shards, draw, tools.observer),
        "codec": draw.system.codec.id,
    }


def on_sound(tools: Any) -> dict[str, Any]:
    """The sound test, on the long clips and on synthetic people never trained on."""
    people = {n: settings().runs / "learn" / n for n in LONG}
    folders = [p / "shards" for p in people.values()]
    shards = nano_shards()
    speech = speech_by_speaker([shards, *folders])
    found: dict[str, Any] = {}
    for name, folder in people.items():
        draw = FlashLipsRenderers(folder / "system", tools.store)
        for clip in read_clips(folder / "shards", tools.observer):
            found[name] = sound(clip, draw, tools.observer, speech, tools.console)
    draw, others = FlashLipsRenderers(NANO, tools.store), nano().speakers()
    for clip in read_clips(shards, tools.observer, lambda i: i["speaker"] in others):
        found[clip.name] = sound(clip, draw, tools.observer, speech, tools.console)
    return found


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
    return verdict


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
    parser.add_argument("--clips", type=Path, default=Path(os.environ.get("FLASHLIPS_CLIPS", "")))
    parser.add_argument("--only", nargs="*", default=["nano", "personalise", "sound"])
    parser.add_argument("--people", nargs="*", default=list(CLIPS))
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
    if "sound" in a.only:
        start = time.monotonic()
        store("sound", on_sound(tools), start)
    facts = read_json(OUT)
    facts["gates"] = gates(facts)
    write_json(OUT, facts)
    for key, value in facts["gates"].items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
