"""How raw clips become training data; each list of steps reads like a paper's data section."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from core.contracts import Step
from core.errors import InputError
from core.latents import STORAGES
from core.media.colour import STRENGTH
from core.media.crop import FLASHLIPS_128, LATENTSYNC_256, CropSpec
from core.recipe import later
from core.sample import FPS, SEGMENT_S
from core.weights import Store
from preprocessing.plan import Placed
from preprocessing.steps.crop import Crop
from preprocessing.steps.emotion import Emotion
from preprocessing.steps.expression import LANDMARKS, Expression
from preprocessing.steps.filters import Length, OneFace, PoseLimits, Sharpness
from preprocessing.steps.frames import Reader
from preprocessing.steps.identity import Identify, Who
from preprocessing.steps.latents import Latents
from preprocessing.steps.masks import Masks
from preprocessing.steps.parsing import Parser, Parsing
from preprocessing.steps.probe import Probe
from preprocessing.steps.quality import Quality
from preprocessing.steps.read import Read
from preprocessing.steps.scenes import Scenes
from preprocessing.steps.segment import Segment
from preprocessing.steps.speech import Speech
from preprocessing.steps.sync import Sync
from preprocessing.steps.track import Finder, Track
from preprocessing.steps.viseme import Viseme
from preprocessing.steps.window import Window

Chain = Callable[["PreprocessRecipe", Store], Sequence[Placed]]


CHOICES: Mapping[str, tuple[str, ...]] = {
    "no_sound": ("reject", "silence"),
    "reader": get_args(Reader),
    "faces": get_args(Finder),
    "parsing": ("", *get_args(Parser)),
    "lips_from": ("landmarks", "parsing"),
    "latents": STORAGES,
    "identity": ("", *get_args(Who)),
}
"""Words that a field may hold."""


@dataclass(frozen=True)
class Filters:
    """Limits on what is kept; these let everything pass, and a filter that does is left out.

    Attributes:
        most_faces: seen at once. 0 is any number.
        yaw, pitch, roll: of the head in the frame, in degrees; nine in ten frames stay within.
        min_s: shortest segment, in seconds, after cuts and gaps.
        sharpness: least, see ``preprocessing.steps.filters.sharpness``.
    """

    most_faces: int = 0
    yaw: float = 180.0
    pitch: float = 180.0
    roll: float = 180.0
    min_s: float = 0.0
    sharpness: float = 0.0


@dataclass(frozen=True)
class PreprocessRecipe:
    """Numbers of a preprocessing run, and which list of steps they go to.

    Attributes:
        steps: ``package.module:function`` that gives the list, from this recipe and a Store.
        crop: where the face crop lies and how large it is.
        codec, speech: names of the image codec and of the speech encoder.
        expression: ``landmarks``, or the file of an expression net (``FILE#SIDE``).
        emotion: folder of a speech-emotion classifier; "" is none.
        sync: expert that moves the sound to the lips, such as ``syncnet_v2``; "" is none.
        sync_confidence, sync_most: least confidence, largest offset (frames) to keep.
        quality: judge of the crops, ``auto``, ``hyper_iqa`` or ``niqe``; "" is none.
        least_hyper_iqa, most_niqe: limits of quality, each for its own measure; 0 is off.
        latents: how they are stored, float16 or uint8.
        flip, jitter: cache latents of a mirrored copy; of so many in other colours.
        jitter_strength: brightness, contrast, saturation, hue.
        min_s, segment_s: shortest clip, longest segment, in seconds.
        reader: what decodes frames; decord is for trusted corpora (``preprocessing.steps.frames``).
        scene_threshold: of the cut detector, ``preprocessing.steps.scenes``; 0 looks for no cuts.
        faces: who finds faces, ``preprocessing.steps.track``.
        max_gap: longest run of frames without a face that is bridged; a longer one splits.
        filters: limits on what is kept.
        min_face: smallest face: side of the crop in pixels of the source.
        parsing: ``landmarks`` or ``segformer`` adds parsed faces; "" adds none.
        parsing_weights: a folder, or ``hub:OWNER/NAME``; "" is the registered one.
        lips_from: what M_lips is drawn from, ``landmarks`` or ``parsing``.
        latent_stride: of the codec; adds the latent mask m; 0 adds none.
        identity: net of the identity embedding, ``mobilefacenet`` or ``arcface``; "" adds none.
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
    expression: str = later(LANDMARKS)
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
    reader: Reader = later("pyav")
    scene_threshold: float = later(0.0)
    faces: Finder = later("mesh")
    max_gap: int = 5
    filters: Filters = later(Filters())
    min_face: float = 48.0
    parsing: Literal["", "landmarks", "segformer"] = later("")
    parsing_weights: str = later("")
    lips_from: Literal["landmarks", "parsing"] = later("landmarks")
    latent_stride: int = later(0)
    identity: Literal["", "mobilefacenet", "arcface"] = later("")
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
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                given, words = getattr(self, name), " or ".join(a or '""' for a in allowed)
                raise InputError(f"{name}={given!r}: must be {words}")
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


def flashlips_paper() -> PreprocessRecipe:
    """Sec. 4.1 and A.1, every step on: 512 px, cuts, filters, SegFormer's parts, sync, wav2vec 2.0.

    The paper gives no thresholds: these are ours. They keep a head that is not in profile, alone
    and in focus. Its flips and ColorJitter fall on each sample anew; here 4 cached copies stand for
    them. wav2vec2-base-960h and speech-emotion are folders that a person saves below a weights
    folder; the codec is chosen with ``--set``.
    """
    return replace(
        flashlips(),
        crop=CropSpec(size=512),
        scene_threshold=3.0,
        filters=Filters(most_faces=1, yaw=60.0, pitch=40.0, roll=40.0, min_s=1.0, sharpness=1.0),
        min_face=192.0,
        parsing="segformer",
        lips_from="parsing",
        latent_stride=8,
        identity="mobilefacenet",
        speech="wav2vec2:wav2vec2-base-960h#6,9,12",
        emotion="speech-emotion",
        sync="syncnet_v2",
        quality="auto",
        flip=True,
        jitter=3,
    )


def latentsync() -> PreprocessRecipe:
    """LatentSync's crop and fixed mask at 256 px; the other steps are FlashLips'."""
    return replace(flashlips(), crop=LATENTSYNC_256, scene_threshold=2.0, min_face=96.0)


def flashlips_debug() -> PreprocessRecipe:
    """The same steps with the cheapest sound features, for tests and first tries."""
    return replace(flashlips(), speech="log-mel")


def flashlips_steps(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    """Sec. 4.1: 25 fps and 16 kHz; one face, tracked; crop, M, M_lips; latents; speech features.

    Steps that a recipe has no use for are left out.
    """
    n = recipe.threads
    return [
        Placed(Probe(min_s=recipe.min_s)),
        *_scenes(recipe),
        Placed(Segment(longest_s=recipe.segment_s)),
        Placed(Read(no_sound=recipe.no_sound, reader=recipe.reader)),
        Placed(
            Track(
                store,
                recipe.faces,
                recipe.max_gap,
                min_frames=round(recipe.min_s * FPS),
                threads=n,
            )
        ),
        Placed(Window()),
        *_filters(recipe.filters),
        *_sync(recipe, store),
        Placed(
            Crop(
                recipe.crop,
                margin=recipe.margin,
                margin_px=2 * round(recipe.margin * recipe.crop.size / 2),
                crf=recipe.crf,
                min_face=recipe.min_face,
            )
        ),
        *_quality(recipe, store),
        *_parsing(recipe, store),
        Placed(Masks(recipe.crop.mask, recipe.lips_from, recipe.latent_stride)),
        *_identity(recipe, store),
        Placed(_expression(recipe, store)),
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
        *_emotion(recipe, store),
    ]


def _expression(recipe: PreprocessRecipe, store: Store) -> Expression:
    if recipe.expression != LANDMARKS and recipe.flip:
        raise InputError(
            "flip=True needs the mirror image of expression features, which only landmarks have: "
            "set flip=False or expression=landmarks"
        )
    return Expression(recipe.expression, store, recipe.threads)


def _scenes(recipe: PreprocessRecipe) -> list[Placed]:
    if not recipe.scene_threshold:
        return []
    return [Placed(Scenes(recipe.scene_threshold, recipe.min_s))]


def _filters(limits: Filters) -> list[Placed]:
    """Those that can reject something, the cheapest first."""
    found: list[Step] = []
    if limits.most_faces:
        found.append(OneFace(limits.most_faces))
    if limits.min_s:
        found.append(Length(limits.min_s))
    if min(limits.yaw, limits.pitch, limits.roll) < 180:
        found.append(PoseLimits(limits.yaw, limits.pitch, limits.roll))
    if limits.sharpness:
        found.append(Sharpness(limits.sharpness))
    return [Placed(step) for step in found]


def _parsing(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    if recipe.parsing == "":
        return []
    weights, n = recipe.parsing_weights, recipe.threads
    return [Placed(Parsing(recipe.parsing, store, weights, n))]


def _identity(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    if recipe.identity == "":
        return []
    return [Placed(Identify(recipe.identity, store, recipe.threads))]


def _sync(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    if recipe.sync == "":
        return []
    limits = (recipe.sync_confidence, recipe.sync_most)
    return [Placed(Sync(recipe.sync, store, *limits, threads=recipe.threads))]


def _quality(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    if recipe.quality == "":
        return []
    limits = (recipe.least_hyper_iqa, recipe.most_niqe)
    return [Placed(Quality(recipe.quality, store, *limits, threads=recipe.threads))]


def _emotion(recipe: PreprocessRecipe, store: Store) -> list[Placed]:
    if recipe.emotion == "":
        return []
    return [Placed(Emotion(recipe.emotion, store, threads=recipe.threads))]
