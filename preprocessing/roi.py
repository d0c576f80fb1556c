"""Region of interest: the part of the picture that a data set says its clip is.

A clip names it in the fact ``roi``, as text, in one of three units::

    fraction:0.25,0,0.75,1     of the picture's width and height
    px:608,0,1334,726          pixels of the file
    px@1080:608,0,1334,726     pixels of the same picture, 1080 pixels high
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.clip import Clip
from core.errors import InputError

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the file; right and bottom exclusive."""

LEAST = 16
"""Smallest side of a region, in pixels."""
OVER = 1.02
"""Annotators round; a region that reaches further over the picture's edge is of another picture."""


@dataclass(frozen=True)
class Roi:
    """A region as a data set gives it.

    Attributes:
        left, top, right, bottom: in ``unit``.
        unit: fractions of width and height, or pixels.
        height: of the picture that the pixels were measured in; 0 is the file itself.
    """

    left: float
    top: float
    right: float
    bottom: float
    unit: Literal["fraction", "px"] = "px"
    height: int = 0

    def __str__(self) -> str:
        unit = f"px@{self.height}" if self.height else self.unit
        sides = (self.left, self.top, self.right, self.bottom)
        return f"{unit}:{','.join(f'{side:.6g}' for side in sides)}"

    @classmethod
    def parse(cls, text: str) -> Roi:
        """The inverse of ``str``.

        Raises:
            InputError: the text is no region.
        """
        unit, _, sides = text.partition(":")
        name, at, height = unit.partition("@")
        try:
            if name not in ("px", "fraction") or (name == "fraction" and at):
                raise ValueError(name)
            left, top, right, bottom = (float(side) for side in sides.split(","))
            tall = int(height) if at else 0
            return cls(left, top, right, bottom, "px" if name == "px" else "fraction", tall)
        except ValueError as error:
            raise InputError(
                f"roi {text!r} is no region; write fraction:L,T,R,B or px:L,T,R,B or px@HEIGHT:..."
            ) from error

    def box(self, width: int, height: int) -> Box:
        """The region in pixels of a file, cut at its edges.

        Args:
            width: of the file's picture as shown, pixels.
            height: likewise.

        Raises:
            InputError: hardly anything is left of it there.
        """
        left, top, right, bottom = self._pixels(width, height)
        x0, y0 = max(0, round(left)), max(0, round(top))
        x1, y1 = min(width, round(right)), min(height, round(bottom))
        if min(x1 - x0, y1 - y0) < LEAST:
            raise InputError(
                f"roi {self} is smaller than {LEAST} pixels in a picture of {width}x{height}; "
                "check the annotation"
            )
        return x0, y0, x1, y1

    def reaches_out(self, width: int, height: int) -> bool:
        """Whether it ends outside a picture by more than annotators round."""
        _, _, right, bottom = self._pixels(width, height)
        return right > OVER * width or bottom > OVER * height

    def _pixels(self, width: int, height: int) -> tuple[float, float, float, float]:
        scale = height / self.height if self.height else 1.0
        across, down = (width, height) if self.unit == "fraction" else (scale, scale)
        return self.left * across, self.top * down, self.right * across, self.bottom * down


def given_box(clip: Clip) -> Box | None:
    """What the clip's frames are cut to when they are read; None is the whole picture.

    A region measured at another resolution is scaled, unless the clip has the fact ``crop_ratio``:
    then the step ``window`` finds it anew from the face.

    Args:
        clip: probed: it has the facts ``width`` and ``height``.

    Raises:
        InputError: the region does not fit the picture.
    """
    if "roi" not in clip.facts or to_be_found(clip):
        return None
    width, height = int(clip.facts["width"]), int(clip.facts["height"])
    roi = Roi.parse(str(clip.facts["roi"]))
    if roi.reaches_out(width, height):
        raise InputError(
            f"roi {roi} reaches out of the picture ({width}x{height}): the file is not of the "
            "resolution that was annotated; download that one"
        )
    return roi.box(width, height)


def to_be_found(clip: Clip) -> bool:
    """Whether the region is still to be found from the face, enlarged by ``crop_ratio``."""
    if "crop_ratio" not in clip.facts:
        return False
    if "roi" not in clip.facts:
        return True
    return Roi.parse(str(clip.facts["roi"])).height not in (0, int(clip.facts["height"]))
