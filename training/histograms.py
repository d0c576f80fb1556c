"""How loss terms and gradients are spread, as a picture at an interval (``histogram_every``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

BINS = 40
TINY = 1e-12


def gradients(modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """log10 of the sizes of all gradients, by module and its direct child; zeros are left out.

    A sharded gradient counts with this worker's part.
    """
    found: dict[str, list[torch.Tensor]] = {}
    for name, module in modules.items():
        for key, p in module.named_parameters():
            if p.grad is not None:
                local = p.grad.to_local() if hasattr(p.grad, "to_local") else p.grad
                found.setdefault(f"{name}.{key.split('.')[0]}", []).append(local.abs().flatten())
    sizes = {name: torch.cat(parts).float().cpu().numpy() for name, parts in found.items()}
    return {name: np.log10(size[size > TINY]) for name, size in sizes.items()}


def draw(terms: Sequence[Mapping[str, float]], sizes: Mapping[str, np.ndarray]) -> bytes:
    """A PNG: one histogram for each loss term over the steps given, one for each gradient group.

    Args:
        terms: each step's numbers by name.
        sizes: see ``gradients``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(terms[0]) if terms else []
    columns = max(len(names), len(sizes), 1)
    figure = Figure(figsize=(2.6 * columns, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_visible(False)
    for axis, name in zip(axes[0], names, strict=False):
        values = np.array([row[name] for row in terms])
        _bars(axis, values[np.isfinite(values)], name)
    for axis, (name, size) in zip(axes[1], sizes.items(), strict=False):
        _bars(axis, size, f"log10 |g| {name}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _bars(axis: object, values: np.ndarray, title: str) -> None:
    axis.set_visible(True)  # type: ignore[attr-defined]
    axis.hist(values, bins=BINS, color="#0f766e")  # type: ignore[attr-defined]
    axis.set_title(title, fontsize=8)  # type: ignore[attr-defined]
