"""FlashLips as the engine sees it: crops in, crops out, no mask anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from core.contracts import PredictorSpec
from core.errors import InputError
from core.media import audio
from core.media.crop import FLASHLIPS_128
from core.media.shapes import opening
from core.sample import FPS, SAMPLE_RATE, SEGMENT_S
from core.weights import Store
from models.experts.emotion import CLASSES, SpeechEmotion
from models.experts.face import FaceMesh
from models.experts.speech import load_speech
from models.flashlips.bundle import FlashLips
from models.flashlips.condition import sizes

WINDOW = 16
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
        self.speech = load_speech(self.system.cards["audio_to_lips"].net["speech_encoder"], store)
        self.emotion = emotion_of(self.system, store)
        self.mesh = FaceMesh(store)

    def prepare(self, references: np.ndarray, sound: np.ndarray, seed: int = 0) -> FlashLipsSession:
        """Speech to lips vectors for the whole sound, reference features once a video."""
        system = self.system
        frames = max(1, int(np.ceil(len(sound) / SAMPLE_RATE * FPS)))
        vectors = system.image_lips(references)
        features = self.speech.features(sound, frames)
        felt = None if self.emotion is None else feelings(self.emotion, sound, frames)
        lips = system.speak(features, vectors, felt, seed=seed)
        silent = audio.silence(sound, SAMPLE_RATE, FPS, frames)
        lips = close_when_silent(lips, silent, vectors[self._most_closed(references)])
        return FlashLipsSession(system, system.encode(references[:1]), lips)

    def _most_closed(self, references: np.ndarray) -> int:
        """The reference with the smallest measured mouth opening."""
        meshes = [self.mesh.mesh_crop(crop) for crop in references]
        return int(np.argmin([np.inf if m is None else float(opening(m)) for m in meshes]))


def emotion_of(system: FlashLips, store: Store) -> SpeechEmotion | None:
    """The speech-emotion classifier that the system was trained with, if it was with one."""
    net = system.cards["audio_to_lips"].net
    return SpeechEmotion(str(net["emotion_encoder"]), store) if sizes(net)[0] else None


def feelings(emotion: SpeechEmotion, sound: np.ndarray, frames: int) -> np.ndarray:
    """Probabilities (frames, 7): one vector for each stretch as long as a training segment."""
    length = round(SEGMENT_S * FPS)
    found = np.empty((frames, CLASSES), np.float32)
    for first in range(0, frames, length):
        piece = sound[first * SAMPLE_RATE // FPS : (first + length) * SAMPLE_RATE // FPS]
        found[first : first + length] = emotion.probabilities(piece)
    return found


def close_when_silent(lips: torch.Tensor, silent: np.ndarray, closed: torch.Tensor) -> torch.Tensor:
    """Fades lips vectors to the person's closed mouth where the sound is silent.

    Args:
        lips: (T,12).
        silent: (T,) bool.
        closed: (12,).

    Returns:
        (T,12).
    """
    kernel = np.ones(2 * CLOSE_FRAMES + 1) / (2 * CLOSE_FRAMES + 1)
    padded = np.pad(silent.astype(np.float32), CLOSE_FRAMES, mode="edge")
    weight = torch.from_numpy(np.convolve(padded, kernel, "valid").astype(np.float32))[:, None]
    return (1 - weight) * lips + weight * closed


class FlashLipsSession:
    """One video: the reference's features and the lips vectors over time."""

    def __init__(self, system: FlashLips, z_ref: torch.Tensor, lips: torch.Tensor) -> None:
        self.system, self.lips, self.z_ref = system, lips, z_ref

    def lips_at(self, times_s: np.ndarray) -> torch.Tensor:
        """Lips vectors at any times, linear between the 25 a second; (N,) -> (N,12)."""
        # frame i is shown from i / FPS on; its features are those of that span
        at = np.clip(times_s * FPS, 0, len(self.lips) - 1)
        low = np.floor(at + 1e-6).astype(int)
        high = np.minimum(low + 1, len(self.lips) - 1)
        part = torch.from_numpy((at - low).clip(0, 1).astype(np.float32))[:, None]
        return (1 - part) * self.lips[low] + part * self.lips[high]

    def edit(self, frames: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """(N,S,S,3) uint8 crops at ``times_s`` (N,) -> the same with new lips."""
        system = self.system
        z = system.paint(system.editor, system.encode(frames), self.z_ref, self.lips_at(times_s))
        return system.decode(z)
