"""Tables of the paper's claims at nano size, on synthetic people: what comes out, whatever it is.

    python bench/ablations.py [--only lips_dimensions lips_change] [--steps 400] [--seeds 3]
                              [--shards FOLDER]

``lips_dimensions`` (Table 5): 2-D, 4-D, 8-D and 8+4-D lips vectors, trained alike; reconstruction
inside M and on the lips, and leakage: with another person's lips vector, is it still the person?
``lips_change`` (C.1, A.2): the masked editor's raw output beside the mask-free one's, trained on
pseudo-pairs in each mixture of directions. Finished trainings are kept below runs/ablations, so an
interrupted run goes on. Writes bench/results/ablations.json and a picture of each table.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.checkpoint import CheckpointRef, read_card
from core.contracts import BatchRequest, FramePair
from core.files import read_json, write_json
from evaluation.clip_data import ClipData
from evaluation.machine import machine, revision
from evaluation.observer import Observer
from flows.console import Console
from flows.learn import mask_free_numbers
from flows.nano import nano_shards
from flows.recipes import nano
from flows.work import NANO, train_recipe
from infra.settings import quiet, settings
from models.experts.codec import load_codec
from models.experts.identity import Identity
from models.flashlips.parts import freeze, images, load_parts, pixels
from models.flashlips.reconstruction import FIELDS
from models.flashlips.renderers import FlashLipsRenderers
from training import reading
from training.recipes.flashlips import NANO_NET, nano_lips_change, nano_reconstruction

OUT = Path(__file__).parent / "results" / "ablations.json"
DIMENSIONS = {"2": (2, 0), "4": (4, 0), "8": (8, 0), "8+4": (8, 4)}
"""Rows of Table 5: (main, residual)."""
MIXTURES = {"real -> synthetic": 1.0, "2/3 : 1/3": 2 / 3, "synthetic -> real": 0.0}
"""Rows of A.2: chance of a pair's direction source -> changed."""
BATCH = 8
MEASURED = 104
"""Held-out samples: four of each person trained on."""

Rows = Mapping[str, np.ndarray]


# -- Table 5 --------------------------------------------------------------------------------------


def lips_dimensions(steps: int, seeds: int, tools: Tools) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):  # seed by seed, so that an interrupted run has whole columns
        for name, (main, residual) in DIMENSIONS.items():
            encoder = {**NANO_NET["lips_encoder"], "main": main, "residual": residual}
            recipe = replace(
                nano_reconstruction(), steps=steps, batch=BATCH, seed=seed,
                net={**NANO_NET, "lips_encoder": encoder}, exclude_speakers=nano().speakers(),
            )  # fmt: skip
            out = tools.folder / f"lips-{name}-{seed}"
            card = train_recipe(recipe, tools.shards, {}, out, console=tools.console)
            rows = list(reconstructed(card, tools))
            means = {key: float(np.concatenate([r[key] for r in rows]).mean()) for key in rows[0]}
            found.setdefault(name, []).append(means)
            tools.console.say(f"{name}-D, seed {seed}: {means}")
    return table(found)


@torch.inference_mode()
def reconstructed(card: CheckpointRef, tools: Tools) -> Iterator[Rows]:
    """Per held-out sample: PSNR inside M and on the lips, identity with other people's lips."""
    parts = {k: freeze(v) for k, v in load_parts(card, ("editor", "lips_encoder")).items()}
    codec = load_codec(card.codec.partition("@")[0], settings().store())
    view = BatchRequest(FramePair(), (*FIELDS, "landmarks"))
    for batch in tools.data().held_out("held_out", view, MEASURED, 26):
        own = parts["lips_encoder"](batch["expression"], images(batch["crop"]))
        reference = parts["editor"].reference(batch["latent_source_reference"])  # type: ignore[operator]
        other = own.roll(1, 0)  # a batch holds nobody twice in a row but by chance
        drawn = [
            pixels(codec.decode(parts["editor"](batch["latent_masked"], reference, lips))).numpy()
            for lips in (own, other)
        ]
        truth, marks = batch["crop"].numpy(), batch["landmarks"].numpy()
        strangers = (batch["speaker"] != batch["speaker"].roll(1, 0)).numpy()
        alike = [
            float(tools.who.embed(x, m) @ tools.who.embed(y, m))
            for x, y, m in zip(drawn[1][strangers], truth[strangers], marks[strangers], strict=True)
        ]
        yield {
            "psnr_mask": masked_psnr(drawn[0], truth, batch["mask"].numpy()),
            "psnr_lips": masked_psnr(drawn[0], truth, batch["lips_mask"].numpy()),
            "identity_with_others_lips": np.array(alike),
        }


def masked_psnr(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(N,) dB over the pixels of the mask (N,S,S)."""
    squares = ((x.astype(float) - y) ** 2).mean(-1)
    error = (squares * mask).sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1)
    return np.asarray(10 * np.log10(255**2 / np.maximum(error, 1e-9)))


# -- mask removal ---------------------------------------------------------------------------------


def lips_change(steps: int, seeds: int, tools: Tools) -> dict[str, Any]:
    """On people never trained on: raw output outside M, and how the mouth follows the lips."""
    others = nano().speakers()
    chosen: Callable[[Any], bool] = lambda info: info["speaker"] in others  # noqa: E731
    parents = {"reconstruction": read_card(NANO / "reconstruction")}
    found: dict[str, list[dict[str, float]]] = {}
    draw = FlashLipsRenderers(NANO, settings().store())
    masked = WithMask(draw)
    found["masked editor"] = [mask_free_numbers(tools.shards, masked, tools.observer, chosen)]
    for seed in range(seeds):
        for name, chance in MIXTURES.items():
            recipe = replace(
                nano_lips_change(), steps=steps, batch=BATCH, seed=seed, exclude_speakers=others,
                net={**NANO_NET, "real_to_synthetic": chance},
            )  # fmt: skip
            system = tools.folder / f"mixture-{chance:.2f}-{seed}"
            for stage in ("reconstruction", "distillation", "audio_to_lips"):
                shutil.copytree(NANO / stage, system / stage, dirs_exist_ok=True)
            train_recipe(
                recipe, tools.shards, parents, system / "lips_change", console=tools.console
            )
            draw = FlashLipsRenderers(system, settings().store())
            numbers = mask_free_numbers(tools.shards, draw, tools.observer, chosen)
            found.setdefault(name, []).append(numbers)
            tools.console.say(f"{name}, seed {seed}: {numbers}")
    return table(found)


class WithMask:
    """The masked editor in the mask-free one's place: its raw output, nothing pasted back."""

    def __init__(self, draw: FlashLipsRenderers) -> None:
        self.draw, self.codec = draw, draw.codec

    def driven(self, clip: ClipData, frames: np.ndarray) -> np.ndarray:
        """The held-out frames with the lips vectors of ``frames`` (N,)."""
        return self.draw.driven_masked(clip, frames)


# -- both -----------------------------------------------------------------------------------------


class Tools:
    """What every part needs."""

    def __init__(self, shards: Path | None) -> None:
        store = settings().store()
        self.shards, self.folder = shards or nano_shards(), settings().runs / "ablations"
        self.who, self.observer = Identity(store), Observer.from_store(store)
        self.console = Console()
        self._data: Any = None

    def data(self) -> Any:
        """The corpus, read once."""
        if self._data is None:
            others = nano().speakers()
            self._data = reading.load(self.shards, (*FIELDS, "landmarks"), others)
        return self._data


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Rows by name: mean over seeds, lowest and highest, and each seed's number."""
    return {
        name: {
            key: {
                "mean": round(float(np.mean([row[key] for row in rows])), 4),
                "low": round(min(row[key] for row in rows), 4),
                "high": round(max(row[key] for row in rows), 4),
                "seeds": [round(row[key], 4) for row in rows],
            }
            for key in rows[0]
        }
        for name, rows in found.items()
    }


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Each number of a table as a panel: seeds as dots, range as a bar, mean as a line."""
    from matplotlib.figure import Figure

    rows = report["rows"]
    keys = list(next(iter(rows.values())))
    figure = Figure(figsize=(3.6 * len(keys), 2.8), layout="constrained")
    for axis, key in zip(figure.subplots(1, len(keys), squeeze=False)[0], keys, strict=True):
        for at, row in enumerate(rows.values()):
            seeds = row[key]["seeds"]
            axis.plot(
                [at, at], [min(seeds), max(seeds)], color="#99c9c4", lw=6, solid_capstyle="round"
            )
            axis.plot([at] * len(seeds), seeds, "o", color="#0f766e", ms=4)
            axis.plot([at - 0.2, at + 0.2], [row[key]["mean"]] * 2, color="#111", lw=1.5)
        axis.set_xticks(range(len(rows)), list(rows), fontsize=7)
        axis.set_title(key.replace("_", " "), fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=120)


PARTS: dict[str, Callable[[int, int, Tools], dict[str, Any]]] = {
    "lips_dimensions": lips_dimensions, "lips_change": lips_change,
}  # fmt: skip


def main() -> None:
    quiet()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shards", type=Path, help="default: the nano corpus, made when missing")
    a = parser.parse_args()
    report, tools = read_json(OUT) if OUT.exists() else {}, Tools(a.shards)
    for name in a.only:
        rows = PARTS[name](a.steps, a.seeds, tools)
        about = {"steps": a.steps, "batch": BATCH, "seeds": a.seeds, "revision": revision()}
        about["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        report[name] = {"rows": rows, **about, "machine": machine()}
        write_json(OUT, report)
        draw(report[name], OUT.with_name(f"{name}.png"))


if __name__ == "__main__":
    main()
