"""A video case as a case of crops, so that what measures crops measures videos too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from core.contracts import Case, Metric
from core.errors import InputError
from core.media.shapes import opening
from evaluation.clip_data import clip_box
from evaluation.videos import Kind, Seen, VideoCase

MOUTH = "mouth_"
"""What names of numbers about the mouth's box start with; the others are of the whole crop."""


def openings(seen: Seen) -> np.ndarray:
    """(T,) mouth opening over face height, NaN where no face was found."""
    found = np.full(len(seen), np.nan, np.float32)
    if seen.found.any():
        found[seen.found] = opening(seen.mesh[seen.found])
    return found


def mouth(case: VideoCase) -> np.ndarray:
    """The source's one mouth box, (4,) int x0,y0,x1,y1 in crop pixels, of all its frames.

    Raises:
        InputError: the source shows no face in any crop.
    """
    source = case.source
    if not source.found.any():
        raise InputError(
            f"no mouth was found in the face crops of {source.path}; leave that video out"
        )
    box = case.once("mouth", lambda: clip_box(source.mesh[source.found], source.crops.shape[2]))
    return np.asarray(box)


def crop_case(case: VideoCase) -> Case:
    """The output's crops beside the source's; the box is the mouth's of the whole clip.

    The truth is the source, so this is for kind ``self``; ``asked`` is the source's opening.
    """
    source = case.source
    return Case(
        name=case.name,
        system=case.system,
        output=case.output.crops,
        truth=source.crops,
        mouth_box=np.tile(mouth(case), (len(source), 1)),
        landmarks=source.mesh,
        asked=openings(source),
    )


class OnCrops:
    """A metric of crops, on the whole face crop and again on the mouth's box.

    Reference: the source. Unit, range, direction and what it can be fooled by are the crop metric's
    own; the whole crop is mostly pixels that nobody was asked to change, so an output that copies
    the source everywhere is near perfect there, and best in kind ``self`` at the mouth, too: read
    it beside a number that looks at sound. Names of the mouth's numbers start with ``mouth_``.
    """

    needs: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("self",)

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self.name = metric.name
        self.better: Literal["higher", "lower", "one"] = metric.better
        self.directions = {f"{MOUTH}{metric.name}": metric.better}

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """The crop metric's values (T,), and the same with ``mouth_`` for the mouth's box."""
        near = crop_case(case)
        side_y, side_x = near.truth.shape[1:3]
        whole = replace(near, mouth_box=np.tile([0, 0, side_x, side_y], (len(near.truth), 1)))
        values = dict(self._metric.observe(whole))
        return values | {f"{MOUTH}{k}": v for k, v in self._metric.observe(near).items()}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """The crop metric's numbers, once as they are and once with ``mouth_``."""
        near = [
            {key.removeprefix(MOUTH): row[key] for key in row if key.startswith(MOUTH)}
            for row in rows
        ]
        numbers = dict(self._metric.reduce(rows))
        return numbers | {f"{MOUTH}{k}": v for k, v in self._metric.reduce(near).items()}
