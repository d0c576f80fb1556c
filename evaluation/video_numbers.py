"""The numbers of videos as tables show them: which come first, how they are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evaluation import tables

RANDOM = "random/"
"""What numbers of random nets begin with; they mean nothing, so none is ever the best."""
FACTS = ("_source", "_vectors")
"""Ends of numbers that say something of the source or of how much was measured: no system is better
in them."""
FIRST = (
    "lip_score", "lse_c", "lse_d", "lmd", "success", "leakage", "fid", "fvd", "latent_frechet",
    "hyper_iqa", "vbench_total", "niqe", "niqe_fitted", "brisque", "id_facenet512", "id_arcface",
    "id_mobilefacenet", "mouth_psnr", "mouth_ssim", "flicker", "psnr", "ssim", "lpips", "lmd_shape",
)  # fmt: skip
"""Sync first, then whether the mouth changed at all, pictures, identity, likeness to the source:
a copy must not look best where there is no room for all."""
TITLES: Mapping[str, str] = {
    "lip_score": "LipScore", "lse_c": "LSE-C", "lse_d": "LSE-D", "lmd": "LMD, % of crop",
    "lmd_shape": "LMD of shape, % of face", "fid": "FID", "fvd": "FVD", "hyper_iqa": "HyperIQA",
    "latent_frechet": "latent Fréchet", "niqe": "NIQE", "niqe_fitted": "NIQE, fitted",
    "brisque": "BRISQUE",
    "id_facenet512": "ID, FaceNet-512", "id_arcface": "ID, ArcFace",
    "id_mobilefacenet": "ID, MobileFaceNet", "mouth_psnr": "mouth PSNR, dB",
    "mouth_ssim": "mouth SSIM", "psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS",
    "vbench_total": "VBench",
}  # fmt: skip


def title(number: str) -> str:
    """How a page calls a number."""
    return TITLES.get(number, number.replace("_", " "))


def ordered(numbers: Iterable[str]) -> list[str]:
    """Well-known numbers first, the others by name."""
    known = set(numbers)
    return [n for n in FIRST if n in known] + sorted(known - set(FIRST))


def contest(numbers: Iterable[str], directions: Mapping[str, str]) -> dict[str, str]:
    """Numbers in the order of tables, and which way each is better; "" where none is better."""
    found = {}
    for number in ordered(numbers):
        none = number.startswith(RANDOM) or number.endswith(FACTS)
        found[number] = "" if none else directions.get(number, "")
    return found


def judged(found: Mapping[str, Any], shown: Sequence[str] = ()) -> str | None:
    """The number by which single videos are called worst and best; None where there is none.

    Args:
        found: a result, as ``scores.json`` holds it.
        shown: numbers that are asked first; then comes any other that has a direction.
    """
    known = {n for video in found["videos"].values() for n, v in video.items() if v is not None}
    ways = contest(known, found["directions"])
    usable = [n for n in [*shown, *ways] if ways.get(n) in ("higher", "lower")]
    return usable[0] if usable else None


def layout(
    values: Mapping[str, Mapping[str, float]],
    ends: Mapping[str, Mapping[str, tuple[float, float]]],
    directions: Mapping[str, str],
    marks: Mapping[str, Mapping[str, str]] | None = None,
    rivals: bool = True,
) -> tables.Table:
    """A table with systems as columns, for there are more numbers than systems.

    Args:
        values: numbers by system.
        ends: their intervals.
        directions: of numbers.
        marks: system -> number -> key of ``tables.MARKS``.
        rivals: whether one can be the best; kinds of pairs are asked different things.
    """
    ways = contest({n for v in values.values() for n in v}, directions)
    titles = {n: title(n) for n in ways}
    made = tables.table(values, ends, (), ways, titles)
    # A first place that all share says nothing.
    contested = [
        rivals and not all(row.cells[k].best for row in made.rows) for k in range(len(ways))
    ]
    rows = []
    for system, row in zip(values, made.rows, strict=True):
        told = (marks or {}).get(system, {})
        cells = [
            replace(cell, mark=told.get(key, ""), best=cell.best and wins)
            for key, cell, wins in zip(made.keys, row.cells, contested, strict=True)
        ]
        rows.append(replace(row, name=system, cells=tuple(cells)))
    return replace(made, rows=tuple(rows), turned=True)
