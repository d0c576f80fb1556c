"""How raw clips become training data; each list of steps reads like a paper's data section."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.media.crop import FLASHLIPS_128, CropSpec
from core.sample import SEGMENT_S
from core.weights import Store
from preprocessing.plan import Placed
from preprocessing.steps.crop import Crop
from preprocessing.steps.expression import Expression
from preprocessing.steps.latents import Latents
from preprocessing.steps.masks import Masks
from preprocessing.steps.probe import Probe
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment
from preprocessing.steps.speech import Speech
from preprocessing.steps.track import Track
from preprocessing.steps.viseme import Viseme
from preprocessing.steps.window import Window

Chain = Callable[["PreprocessRecipe", Store], Sequence[Placed]]


@dataclass(frozen=True)
class PreprocessRecipe:
    """Numbers of a preprocessing run, and which list of steps they go to.

    Attributes:
        steps: ``package.module:function`` that gives the list, from this recipe and a Store.
        crop: where the face crop lies and how large it is.
        codec, speech: names of the image codec and of the speech encoder.
        min_s, segment_s: shortest clip, longest segment, in seconds.
        max_gap: longest run of frames without a face that is bridged.
        min_face: smallest face: side of the crop in pixels of the source.
        no_sound: what happens to a clip without sound.
        margin: side of the kept video, in sides of the crop; it has as many pixels.
        crf: H.264 quality of the kept video.
        codec_batch, threads: fixed here because they change the last bits of floats.
        shard_mb: a shard is closed once it holds this much.
    """

    steps: str = "preprocessing.recipes:flashlips_steps"
    crop: CropSpec = field(default=FLASHLIPS_128)
    codec: str = "slim"
    speech: str = "whisper-tiny.en+log-mel"
    min_s: float = 1.0
    segment_s: float = SEGMENT_S
    max_gap: int = 5
    min_face: float = 48.0
    no_sound: Literal["reject", "silence"] = "reject"
    margin: float = 2.0
    crf: int = 18
    codec_batch: int = 4
    threads: int = 1
    shard_mb: float = 256.0

    def __post_init__(self) -> None:
        """Refuses numbers that can't work.

        Raises:
            InputError: which, and what would do.
        """
        if self.no_sound not in ("reject", "silence"):
            raise InputError(f"no_sound={self.no_sound!r}: must be reject or silence")
        if not 0 < self.segment_s <= SEGMENT_S:
            raise InputError(f"segment_s={self.segment_s}: must lie in (0, {SEGMENT_S}]")
        for name in ("codec_batch", "threads", "shard_mb", "margin"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name}={getattr(self, name)}: must be more than 0")

    def chain(self, store: Store) -> list[Placed]:
        """The steps, wired.

        Raises:
            InputError: ``steps`` names no function.
        """
        module, _, name = self.steps.partition(":")
        try:
            function: Chain = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(
                f"steps={self.steps!r} names no function package.module:function ({error})"
            ) from error
        return list(function(self, store))


def flashlips() -> PreprocessRecipe:
    """FlashLips at nano size: 128 px crops, the slim codec, Whisper-tiny.en's encoder."""
    return PreprocessRecipe()


def flashlips_256() -> PreprocessRecipe:
    """The same at 256 px."""
    return replace(flashlips(), crop=CropSpec(size=256), min_face=96.0)


def flashlips_debug() -> PreprocessRecipe:
    """The same steps with the cheapest sound features, for tests and first tries."""
    return replace(flashlips(), speech="log-mel")


def flashlips_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Sec. 4.1: 25 fps and 16 kHz; one face, tracked; crop, M, M_lips; latents; speech features."""
    n = recipe.threads
    return [
        Placed(Probe(min_s=recipe.min_s)),
        Placed(Segment(longest_s=recipe.segment_s)),
        Placed(Read(no_sound=recipe.no_sound)),
        Placed(Track(store, max_gap=recipe.max_gap, threads=n)),
        Placed(Window()),
        Placed(
            Crop(
                recipe.crop,
                margin=recipe.margin,
                margin_px=2 * round(recipe.margin * recipe.crop.size / 2),
                crf=recipe.crf,
                min_face=recipe.min_face,
            )
        ),
        Placed(Masks()),
        Placed(Expression()),
        Placed(Viseme()),
        Placed(Latents(recipe.codec, store, batch=recipe.codec_batch, threads=n)),
        Placed(Speech(recipe.speech, store, threads=n)),
    ]
