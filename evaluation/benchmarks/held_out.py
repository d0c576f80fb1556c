"""held_out@1: the last 20 % of each clip's time, face crops, true lips or own sound.

What belongs to the version, which goes up when any of it changes: ``core.sample.time_split`` (20 %
held out behind a gap of 3 frames), the shard's crop, one mouth box a clip (``clip_data.clip_box``),
the truth's landmarks and opening measured on its crops by the net that measures outputs, baselines
pasted by ``baselines.paste_box``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from core.contracts import Case
from core.errors import InputError
from evaluation.baselines import BASELINES, Renderer
from evaluation.clip_data import ClipData


@dataclass(frozen=True)
class Benchmark:
    """Turns a clip and renderers into cases.

    Attributes:
        name: with ``version``, what a report says was measured.
        version: see the module's docstring.
        baselines: rendered beside the systems, from the same clip.
    """

    name: str = "held_out"
    version: int = 1
    baselines: Mapping[str, Renderer] = field(default_factory=lambda: BASELINES)

    def cases(self, clip: ClipData, renderers: Mapping[str, Renderer]) -> Iterator[Case]:
        """Cases of one clip: first the systems, then the baselines, rendered one at a time.

        Args:
            clip: see ``ClipData``.
            renderers: by system's name; the codec's own ceiling joins as "codec".

        Raises:
            InputError: a system has a baseline's name, or renders something else than the held-out
                frames.
        """
        if twice := sorted(renderers.keys() & self.baselines.keys()):
            raise InputError(f"system {twice[0]!r} has a baseline's name; call it something else")
        for system, render in {**renderers, **self.baselines}.items():
            yield case_of(clip, system, render(clip))


def case_of(
    clip: ClipData, system: str, output: np.ndarray, asked: np.ndarray | None = None
) -> Case:
    """One output of a clip's held-out frames as a case.

    Args:
        clip: gives the truth, its landmarks and the box.
        system: its name in report keys.
        output: (N,S,S,3) uint8.
        asked: (N,) the opening asked for, when it is not the truth's (lips of other frames).

    Raises:
        InputError: the output's shape or type is not that of the truth.
    """
    if output.shape != clip.truth.shape or output.dtype != np.uint8:
        raise InputError(
            f"{clip.name}.{system} rendered {output.shape} {output.dtype}, wanted "
            f"{clip.truth.shape} uint8; render each held-out frame's crop"
        )
    return Case(
        name=clip.name,
        system=system,
        output=output,
        truth=clip.truth,
        mouth_box=np.tile(clip.box, (len(output), 1)),
        landmarks=clip.truth_landmarks,
        asked=clip.truth_opening if asked is None else asked,
        kind="self" if asked is None else "cross",
    )
