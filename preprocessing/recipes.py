"""How raw clips become training data; each list of steps reads like a paper's data section."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from core.errors import InputError
from core.latents import STORAGES
from core.media.colour import STRENGTH
from core.media.crop import FLASHLIPS_128, CropSpec
from core.recipe import later
from core.sample import SEGMENT_S
from core.weights import Store
from preprocessing.plan import Placed
from preprocessing.steps.crop import Crop
from preprocessing.steps.emotion import Emotion
from preprocessing.steps.expression import Expression
from preprocessing.steps.latents import Latents
from preprocessing.steps.masks import Masks
from preprocessing.steps.probe import Probe
from preprocessing.steps.quality import Quality
from preprocessing.steps.read import Read
from preprocessing.steps.segment import Segment
from preprocessing.steps.speech import Speech
from preprocessing.steps.sync import Sync
from preprocessing.steps.track import Track
from preprocessing.steps.viseme import Viseme

Chain = Callable[["PreprocessRecipe", Store], Sequence[Placed]]


@dataclass(frozen=True)
class PreprocessRecipe:
    """Numbers of a preprocessing run, and which list of steps they go to.

    Attributes:
        steps: ``package.module:function`` that gives the list, from this recipe and a Store.
        crop: where the face crop lies and how large it is.
        codec, speech: names of the image codec and of the speech encoder.
        emotion: folder of a speech-emotion classifier; "" is none.
        sync: expert that moves the sound to the lips, such as ``syncnet_v2``; "" is none.
        sync_confidence, sync_most: least confidence, largest offset (frames) to keep.
        quality: judge of the crops, ``auto``, ``hyper_iqa`` or ``niqe``; "" is none.
        least_hyper_iqa, most_niqe: limits of quality, each for its own measure; 0 is off.
        latents: how they are stored, float16 or uint8.
        flip, jitter: cache latents of a mirrored copy; of so many in other colours.
        jitter_strength: brightness, contrast, saturation, hue.
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
    emotion: str = later("")
    sync: str = later("")
    sync_confidence: float = later(3.0)
    sync_most: int = later(6)
    quality: str = later("")
    least_hyper_iqa: float = later(0.0)
    most_niqe: float = later(0.0)
    latents: str = later("float16")
    flip: bool = later(False)
    jitter: int = later(0)
    jitter_strength: tuple[float, ...] = later(STRENGTH)
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
        if self.latents not in STORAGES:
            raise InputError(f"latents={self.latents!r}: must be {' or '.join(STORAGES)}")
        if self.jitter < 0 or len(self.jitter_strength) != 4 or min(self.jitter_strength) < 0:
            raise InputError(
                f"jitter={self.jitter}, jitter_strength={self.jitter_strength}: wanted are a count "
                "and four strengths of 0 or more"
            )
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


def flashlips_paper() -> PreprocessRecipe:
    """Sec. 4.1 and A.1 as far as they say: 512 px, wav2vec 2.0, flips and jitter, emotion, sync.

    The paper's flips and ColorJitter fall on each sample anew; here 4 cached copies stand for them.
    wav2vec2-base-960h and speech-emotion are folders that a person saves below a weights folder.
    """
    return replace(
        flashlips(),
        crop=CropSpec(size=512),
        min_face=192.0,
        speech="wav2vec2:wav2vec2-base-960h#6,9,12",
        emotion="speech-emotion",
        sync="syncnet_v2",
        quality="auto",
        flip=True,
        jitter=3,
    )


def flashlips_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Sec. 4.1: 25 fps and 16 kHz; one face, tracked; crop, M, M_lips; latents; speech features."""
    n = recipe.threads
    found = [
        Placed(Probe(min_s=recipe.min_s)),
        Placed(Segment(longest_s=recipe.segment_s)),
        Placed(Read(no_sound=recipe.no_sound)),
        Placed(Track(store, max_gap=recipe.max_gap, threads=n)),
    ]
    if recipe.sync:
        found.append(
            Placed(Sync(recipe.sync, store, recipe.sync_confidence, recipe.sync_most, threads=n))
        )
    found.append(
        Placed(
            Crop(
                recipe.crop,
                margin=recipe.margin,
                margin_px=2 * round(recipe.margin * recipe.crop.size / 2),
                crf=recipe.crf,
                min_face=recipe.min_face,
            )
        )
    )
    if recipe.quality:
        limits = (recipe.least_hyper_iqa, recipe.most_niqe)
        found.append(Placed(Quality(recipe.quality, store, *limits, threads=n)))
    found += [
        Placed(Masks()),
        Placed(Expression()),
        Placed(Viseme()),
        Placed(
            Latents(
                recipe.codec,
                store,
                batch=recipe.codec_batch,
                threads=n,
                storage=recipe.latents,
                flip=recipe.flip,
                jitter=recipe.jitter,
                strength=recipe.jitter_strength,
            )
        ),
        Placed(Speech(recipe.speech, store, threads=n)),
    ]
    if recipe.emotion:
        found.append(Placed(Emotion(recipe.emotion, store, threads=n)))
    return found
