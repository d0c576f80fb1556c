"""Response curves on a page and in a file, and which damage each number is meant to see."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from evaluation.panels import Panels, Point, panel
from evaluation.report import Report, plain
from evaluation.response import Curve
from evaluation.video_numbers import FACTS, contest, title

MEANT: Mapping[str, tuple[str, ...]] = {
    "psnr": ("blur", "noise", "shift", "brightness", "other person"),
    "mouth_psnr": ("blur", "noise", "shift", "brightness", "other person"),
    "ssim": ("blur", "noise", "shift", "brightness", "other person"),
    "mouth_ssim": ("blur", "noise", "shift", "brightness", "other person"),
    "lmd": ("shift", "other person"),
    "lmd_shape": ("shift", "other person"),
    "flicker": ("noise",),
    "latent_frechet": ("blur", "noise", "brightness", "other person"),
    "niqe_fitted": ("blur",),
    "id_mobilefacenet": ("blur", "other person"),
}
"""Number -> damages at which it must get worse step by step. Of others nothing is asked: landmarks
need not see blur, and grain looks natural to NIQE."""


LEFT = (*FACTS, "_found", "_offset")
"""Ends of numbers that judge nothing."""


def judged(curves: Sequence[Curve], directions: Mapping[str, str]) -> list[Curve]:
    """The curves of numbers that can be better or worse and that were measured."""
    known = {c.number for c in curves if any(map(math.isfinite, c.values))}
    return [
        c
        for c in curves
        if c.number in known and c.number in directions and not c.number.endswith(LEFT)
    ]


def worsens(curve: Curve, better: str) -> bool:
    """Whether each step of damage makes the number worse."""
    sign = 1 if better == "lower" else -1
    return all(sign * (b - a) > 0 for a, b in pairwise(curve.values))


def deaf(curves: Sequence[Curve], directions: Mapping[str, str]) -> list[str]:
    """Numbers that do not see a damage that they are meant to see, as ``number: damage``."""
    return [
        f"{c.number}: {c.damage}"
        for c in curves
        if c.damage in MEANT.get(c.number, ()) and not worsens(c, directions[c.number])
    ]


def rows(curves: Sequence[Curve], directions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Curves as JSON holds them, each with its direction and whether it gets worse throughout."""
    found = []
    for c in curves:
        better = directions.get(c.number, "")
        meant = c.damage in MEANT.get(c.number, ())
        told = {"better": better, "worsens": worsens(c, better), "meant": meant}
        found.append(plain({**asdict(c), **told}))
    return found


def add_response(report: Report, curves: Sequence[Curve], directions: Mapping[str, str]) -> Report:
    """A section with a panel for each number and a line for each damage.

    Args:
        report: what it is added to.
        curves: as ``evaluation.response.response`` gives them.
        directions: number -> which way it is better.
    """
    strengths = {c.damage: (c.unit, c.strengths[1:]) for c in curves}
    told = "; ".join(
        f"{name} {', '.join(f'{s:g}' for s in steps)} {unit}".rstrip()
        for name, (unit, steps) in strengths.items()
        if unit
    )
    report.add_section(
        "What each number sees",
        f"Sources damaged by a known amount, in steps from the undamaged one (0) on: {told}. "
        "Numbers under random/ come from nets with random weights and mean nothing.",
    )
    return report.add_laid_out("panels", response_panels(curves, directions))


def response_panels(curves: Sequence[Curve], directions: Mapping[str, str]) -> Panels:
    """A panel for each number; x is the step of damage."""
    shown = judged(curves, directions)
    damages = tuple(dict.fromkeys(c.damage for c in shown))
    steps = tuple(str(k) for k in range(max(len(c.strengths) for c in shown)))
    panels = []
    for number in contest({c.number for c in shown}, directions):
        lines = {
            c.damage: [Point(k, y) for k, y in enumerate(c.values)]
            for c in shown
            if c.number == number
        }
        panels.append(panel(title(number), lines, steps, directions.get(number, "")))
    return Panels(damages, tuple(panels), "step of damage")
