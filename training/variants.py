"""Variants of a clip whose latents were cached (mirrored, other colours), as augmentation.

Preprocessing encodes them, since colours can't be changed behind the codec (paper, A.1). Here a
sample takes one variant, and all its fields of all its frames follow: source, masked and reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.latents import unpacked
from core.media.colour import changed
from models.experts import expression

PARAMETERS = "variants"
LATENTS = {
    "latent_source": "latent_source_variants",
    "latent_masked": "latent_masked_variants",
}
SIDELESS = frozenset({"opening", "viseme", "speech", "emotion"})
"""Fields that are the same in a mirror."""
COLOURLESS = SIDELESS | {"mask", "lips_mask", "expression", "pose", "landmarks", "transform"}
"""Fields that don't depend on colour."""


def optional(needs: Sequence[str]) -> tuple[str, ...]:
    """Fields to read beside ``needs`` where a sample has them."""
    found = [LATENTS[name] for name in needs if name in LATENTS]
    return (*found, PARAMETERS) if found else ()


def draw(
    arrays: Mapping[str, np.ndarray], fields: Sequence[str], rng: np.random.Generator
) -> int | None:
    """Which variant a sample takes, each as likely as the clip itself; None is the clip itself.

    A variant that some field can't follow is never taken.
    """
    if PARAMETERS not in arrays or not any(name in LATENTS for name in fields):
        return None
    rows = arrays[PARAMETERS][0]
    fit = [v for v, row in enumerate(rows) if all(_follows(n, arrays, row) for n in fields)]
    pick = int(rng.integers(len(fit) + 1))
    return None if pick == len(fit) else fit[pick]


def _follows(name: str, arrays: Mapping[str, np.ndarray], row: np.ndarray) -> bool:
    if name in LATENTS:
        return LATENTS[name] in arrays
    if name == "crop":
        return True
    mirrored = {"mask", "lips_mask", "pose"} | SIDELESS
    if name == "expression" and arrays[name].shape[-1] == expression.EXPRESSION_DIM:
        return True
    return name in (mirrored if row[0] else COLOURLESS)


def value(
    arrays: Mapping[str, np.ndarray], name: str, at: np.ndarray | int, variant: int | None
) -> np.ndarray:
    """Field ``name`` at frames ``at`` of a variant; latents as floats."""
    if variant is None:
        found = arrays[name][at]
        return unpacked(found) if name in LATENTS else found
    if name in LATENTS:
        return unpacked(arrays[LATENTS[name]][at, variant])
    row, found = arrays[PARAMETERS][0, variant], arrays[name][at]
    if name == "crop":
        return np.ascontiguousarray(changed(found, row))
    return mirrored(name, found) if row[0] else found


def mirrored(name: str, found: np.ndarray) -> np.ndarray:
    """A per-frame field as it would be of the mirrored crop."""
    if name in ("mask", "lips_mask"):
        return np.ascontiguousarray(found[..., ::-1])
    if name == "pose":  # yaw, pitch, roll
        return found * np.array([-1, 1, -1], found.dtype)
    if name == "expression":
        return expression.mirrored(found)
    assert name in SIDELESS, f"{name} has no mirror image"
    return found
