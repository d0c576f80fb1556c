"""FlashLips as the engine sees it: crops in, crops out, no mask anywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from core.ahead import ahead
from core.contracts import PredictorSpec
from core.errors import InputError
from core.media import audio
from core.media.audio import Sound
from core.media.crop import FLASHLIPS_128
from core.media.shapes import opening
from core.sample import FPS, SAMPLE_RATE, SEGMENT_S
from core.weights import Store
from infra.settings import settings
from models.backends import Net, opened
from models.experts.emotion import SpeechEmotion
from models.experts.face import FaceMesh
from models.experts.speech import load_speech
from models.flashlips.bundle import Edit, FlashLips
from models.flashlips.condition import sizes
from models.flashlips.parts import images, pixels

WINDOW = 16
KEPT = 100
"""Lips vectors that are kept: a window may repeat frames of the one before."""
CLOSE_FRAMES = 3
"""Frames over which a mouth closes when the sound falls silent."""


class FlashLipsPredictor:
    """Loads the system and starts sessions.

    Args:
        folder: the system's checkpoint folder.
        store: pretrained weights.

    Raises:
        InputError: the checkpoint is for a crop that is not there.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.system = FlashLips(folder, store)
        self.card = self.system.card
        if self.card.crop != FLASHLIPS_128.id:
            raise InputError(
                f"{folder} wants crop {self.card.crop}, here is {FLASHLIPS_128.id}: "
                "use a checkpoint of this release"
            )
        self.spec = PredictorSpec(
            crop=FLASHLIPS_128,
            fps=FPS,
            window=WINDOW,
            overlap=0,
            references=self.system.references,
        )
        self.net = self._opened(store)
        self.speech = load_speech(self.system.cards["audio_to_lips"].net["speech_encoder"], store)
        self.emotion = emotion_of(self.system, store)
        self.mesh = FaceMesh(store)

    def _opened(self, store: Store) -> Net:
        """What every frame goes through, by the fastest backend."""
        system, side = self.system, FLASHLIPS_128.size
        crop = torch.zeros(1, 3, side, side)
        with torch.inference_mode():
            reference = system.editor.reference(system.codec.encode(crop))  # type: ignore[operator]
        example = (crop, reference, torch.zeros(1, system.lips_length))
        place, here = store.folders[0] / "converted", settings()
        return opened(Edit(system.editor, system.codec), example, place, here.threads, here.backend)

    def prepare(self, references: np.ndarray, sound: Sound, seed: int = 0) -> FlashLipsSession:
        """Looks at the person; speech becomes lips vectors as frames ask for them."""
        system = self.system
        frames = max(1, int(np.ceil(len(sound) / SAMPLE_RATE * FPS)))
        vectors = system.image_lips(references)
        blocks = self.speech.stream(sound, frames)
        felt = None if self.emotion is None else feelings(self.emotion, sound)
        spoken = system.speaking(blocks, vectors, felt, seed=seed)
        silent = audio.silence(sound, SAMPLE_RATE, FPS, frames)
        lips = close_when_silent(spoken, silent, vectors[self._most_closed(references)])
        with torch.inference_mode():
            z_ref = system.encode(references[:1])
            reference = system.editor.reference(z_ref)  # type: ignore[operator]
        # Speech is heard a window ahead, while frames are edited.
        return FlashLipsSession(self.net, reference, Line(ahead(in_one_thread(lips), 1), frames))

    def _most_closed(self, references: np.ndarray) -> int:
        """The reference with the smallest measured mouth opening."""
        meshes = [self.mesh.mesh_crop(crop) for crop in references]
        return int(np.argmin([np.inf if m is None else float(opening(m)) for m in meshes]))


def emotion_of(system: FlashLips, store: Store) -> SpeechEmotion | None:
    """The speech-emotion classifier that the system was trained with, if it was with one."""
    net = system.cards["audio_to_lips"].net
    return SpeechEmotion(str(net["emotion_encoder"]), store) if sizes(net)[0] else None


def feelings(emotion: SpeechEmotion, sound: Sound) -> Callable[[int], np.ndarray]:
    """Frame -> probabilities (7,): one vector for each stretch as long as a training segment."""
    length = round(SEGMENT_S * FPS)

    @functools.lru_cache(maxsize=2)
    def of(stretch: int) -> np.ndarray:
        first = stretch * length
        piece = sound[first * SAMPLE_RATE // FPS : (first + length) * SAMPLE_RATE // FPS]
        return emotion.probabilities(piece)

    return lambda frame: of(frame // length)


def in_one_thread(items: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The same items; torch makes them in the thread that asks, without help.

    Beside frames that are edited, waiting for helpers costs as much as the work.
    """
    torch.set_num_threads(1)
    yield from items


def close_when_silent(
    lips: Iterable[torch.Tensor], silent: np.ndarray, closed: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Fades lips vectors to the person's closed mouth where the sound is silent.

    Args:
        lips: (n,12) each, joined (T,12).
        silent: (T,) bool.
        closed: (12,).

    Yields:
        As ``lips``.
    """
    kernel = np.ones(2 * CLOSE_FRAMES + 1) / (2 * CLOSE_FRAMES + 1)
    padded = np.pad(silent.astype(np.float32), CLOSE_FRAMES, mode="edge")
    weight = torch.from_numpy(np.convolve(padded, kernel, "valid").astype(np.float32))[:, None]
    first = 0
    for block in lips:
        share = weight[first : first + len(block)]
        yield (1 - share) * block + share * closed
        first += len(block)


class Line:
    """Lips vectors over time, made as they are asked for; only the last seconds are kept.

    Args:
        blocks: (n,12) each, in order.
        frames: how many there will be, at 25 a second.
    """

    def __init__(self, blocks: Iterable[torch.Tensor], frames: int) -> None:
        self._blocks, self._frames = iter(blocks), frames
        self._held, self._first = torch.zeros(0), 0

    def at(self, times_s: np.ndarray) -> torch.Tensor:
        """Lips vectors at any times, linear between the 25 a second; (N,) -> (N,12)."""
        # frame i is shown from i / FPS on; its features are those of that span
        at = np.clip(times_s * FPS, 0, self._frames - 1)
        low = np.floor(at + 1e-6).astype(int)
        high = np.minimum(low + 1, self._frames - 1)
        self._make(int(high.max()))
        assert low.min() >= self._first, "time goes forward from call to call"
        part = torch.from_numpy((at - low).clip(0, 1).astype(np.float32))[:, None]
        held = self._held
        return (1 - part) * held[low - self._first] + part * held[high - self._first]

    def _make(self, last: int) -> None:
        """Makes vectors up to one of them, and lets go of those that are long past."""
        while self._first + len(self._held) <= last:
            block = next(self._blocks)
            old = self._held[-KEPT:]
            self._first += len(self._held) - len(old)
            self._held = torch.cat([old, block]) if len(old) else block


class FlashLipsSession:
    """One video: what edits it, the reference's features and the lips vectors over time."""

    def __init__(self, net: Net, reference: torch.Tensor, lips: Line) -> None:
        self.net, self.reference, self.lips = net, reference, lips

    @torch.inference_mode()
    def edit(self, frames: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """(N,S,S,3) uint8 crops at ``times_s`` (N,) -> the same with new lips."""
        x = images(torch.from_numpy(frames))
        found: np.ndarray = pixels(self.net(x, self.reference, self.lips.at(times_s))).numpy()
        return found
