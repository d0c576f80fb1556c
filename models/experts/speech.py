"""Speech encoders: sound in, one feature vector for every video frame out.

Legend: R = 16000 samples/s; a mel hop is 10 ms; a Whisper vector is 20 ms; a frame is 40 ms.

Whisper's own 30 s window makes every vector depend on all of it and, worse, on where in the window
it fell: the same speech 2.5 s later differs by as much as other speech does (relative error 1.0,
r .5). Here windows are 6 s, one starts every second, and each frame is their weighted mean. Speech
moved by whole seconds gives the same vectors, moved by half a second nearly (error .4); nothing
more than 5.5 s away counts; any length works in constant memory, without seams. Ridge regression to
mouth opening does as well as with 30 s windows.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import InputError
from core.media.audio import Sound
from core.weights import Store

RATE = 16000
FPS = 25
HOP, N_FFT, MELS = 160, 400, 80
FRAME_HOPS = RATE // FPS // HOP  # 4 mel hops a video frame
# In mel hops: a window's length, one starts each, the first starts before the sound, unused edge.
WINDOW, STEP, LEAD, EDGE = 600, 100, 500, 50

# log10 power of the loudest mel band. Whisper takes it from each window, so that one cough changes
# all its neighbours; a constant keeps frames independent. Real talking clips reach .7 to 2.1.
LOUDEST = 1.5
FLOOR = LOUDEST - 8.0  # Whisper keeps 80 dB

WHISPER_WIDTH = 384
# Measured over real talking clips: one number each, so that a vector never depends on its clip.
WHISPER_STD = 1.1
MEL_MEAN, MEL_STD = -0.05, 0.47


class SpeechEncoder(Protocol):
    """Sound to per-frame features.

    Attributes:
        name: as given to ``load_speech``. dim: length of a feature vector.
    """

    name: str
    dim: int

    def features(self, sound: Sound, frames: int) -> np.ndarray:
        """Features of ``frames`` frames at 25 fps.

        Args:
            sound: (samples,) float in [-1, 1], 16 kHz mono; taken as silent after its end.
            frames: how many; frame i hears the 40 ms from i/25 s on, and their context.

        Returns:
            (frames, dim) float32, of about unit standard deviation on speech.
        """

    def stream(self, sound: Sound, frames: int) -> Iterator[np.ndarray]:
        """The same second by second: (25, dim) each, the last may be shorter."""


def load_speech(name: str, store: Store, threads: int = 1) -> SpeechEncoder:
    """Opens a speech encoder: ``whisper-tiny.en`` (768 numbers a frame), ``log-mel`` (320), or
    ``wav2vec2:FOLDER#LAYERS`` (layers such as 6,9,12; see ``models.experts.wav2vec2``).

    Args:
        name: which; several joined by ``+`` lie side by side, in that order.
        store: weights.
        threads: threads it may use.

    Raises:
        InputError: unknown name, or its weights are missing.
    """
    if "+" in name:
        return JoinedSpeech([load_speech(part, store, threads) for part in name.split("+")])
    if name == "whisper-tiny.en":
        return WhisperSpeech(store.locate("whisper_tiny_en"), threads)
    if name == "log-mel":
        return LogMelSpeech()
    if name.startswith("wav2vec2:"):
        # Imported here: it imports this module's windows.
        from models.experts.wav2vec2 import Wav2Vec2Speech

        return Wav2Vec2Speech(name.removeprefix("wav2vec2:"), store, threads)
    raise InputError(
        f"no speech encoder {name!r}; there are whisper-tiny.en, log-mel and wav2vec2:FOLDER#LAYERS"
    )


@functools.cache
def mel_filters() -> np.ndarray:
    """Whisper's filter bank: Slaney mel scale and area norm, 0 to 8 kHz; (201, 80) float64."""

    def to_hz(mel: np.ndarray) -> np.ndarray:
        log_part = 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0)
        return np.where(mel < 15.0, mel * 200.0 / 3.0, log_part)

    top = 15.0 + 27.0 * np.log(8.0) / np.log(6.4)  # 8 kHz
    edges = to_hz(np.linspace(0.0, top, MELS + 2))
    bins = np.linspace(0.0, RATE / 2, N_FFT // 2 + 1)[:, None]
    rise = (bins - edges[None, :-2]) / np.diff(edges)[None, :-1]
    fall = (edges[None, 2:] - bins) / np.diff(edges)[None, 1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.maximum(0.0, np.minimum(rise, fall)) * area


def log_mel(sound: Sound, first: int, hops: int) -> np.ndarray:
    """Log-mel spectrum as Whisper's, but over a constant 80 dB; hop i is centred at i * 10 ms.

    Args:
        sound: (samples,) 16 kHz mono; NaN and infinity are taken as silent and full.
        first: index of the first hop; negative is before the sound.
        hops: how many.

    Returns:
        (hops, 80) float32, about -1 (silence) to 1.5.
    """
    begin = first * HOP - N_FFT // 2
    piece = heard(sound, begin, begin + (hops - 1) * HOP + N_FFT)
    shape = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)
    power = np.abs(np.fft.rfft(shape * window, axis=-1)) ** 2
    logs = np.log10(np.maximum(power @ mel_filters(), 1e-10))
    return ((np.maximum(logs, FLOOR) + 4.0) / 4.0).astype(np.float32)


def heard(sound: Sound, begin: int, end: int) -> np.ndarray:
    """Samples ``begin`` to ``end``, float64, silent outside the sound; none is NaN or infinite."""
    piece = np.zeros(end - begin, np.float64)
    low, high = max(begin, 0), min(end, len(sound))
    if low < high:
        piece[low - begin : high - begin] = np.asarray(sound[low:high], np.float32)
    return np.nan_to_num(piece, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)


def joined(blocks: Iterator[np.ndarray], dim: int) -> np.ndarray:
    """Blocks (n, dim) one after the other; (0, dim) when there are none."""
    return np.concatenate([np.zeros((0, dim), np.float32), *blocks])


class LogMelSpeech:
    """The four log-mel spectra of each frame: needs no weights, and is weak."""

    name = "log-mel"
    dim = MELS * FRAME_HOPS

    def features(self, sound: Sound, frames: int) -> np.ndarray:
        """See ``SpeechEncoder.features``."""
        return joined(self.stream(sound, frames), self.dim)

    def stream(self, sound: Sound, frames: int) -> Iterator[np.ndarray]:
        """See ``SpeechEncoder.stream``."""
        for start in range(0, frames, FPS):
            count = min(FPS, frames - start)
            mel = log_mel(sound, start * FRAME_HOPS, count * FRAME_HOPS)
            yield ((mel - MEL_MEAN) / MEL_STD).reshape(count, self.dim)


class JoinedSpeech:
    """Several encoders side by side.

    Whisper and log-mel together predict a person's mouth opening better than either: ridge, mean of
    six real clips, r about .43 against .34 and .38.

    Args:
        parts: the encoders.
    """

    def __init__(self, parts: Sequence[SpeechEncoder]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)
        self.dim = sum(part.dim for part in parts)

    def features(self, sound: Sound, frames: int) -> np.ndarray:
        """See ``SpeechEncoder.features``."""
        return joined(self.stream(sound, frames), self.dim)

    def stream(self, sound: Sound, frames: int) -> Iterator[np.ndarray]:
        """See ``SpeechEncoder.stream``."""
        parts = [part.stream(sound, frames) for part in self.parts]
        return (np.concatenate(blocks, axis=1) for blocks in zip(*parts, strict=True))


class WhisperSpeech:
    """Whisper-tiny.en's encoder: the two 20 ms vectors of each frame, side by side.

    Args:
        folder: CTranslate2 model (``config.json``, ``model.bin``, ``vocabulary.txt``).
        threads: threads it may use. The model opens at first use, so this pickles.
    """

    name = "whisper-tiny.en"
    dim = 2 * WHISPER_WIDTH

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder = folder
        self.threads = threads
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "threads": self.threads, "_model": None}

    def features(self, sound: Sound, frames: int) -> np.ndarray:
        """See ``SpeechEncoder.features``."""
        return joined(self.stream(sound, frames), self.dim)

    def stream(self, sound: Sound, frames: int) -> Iterator[np.ndarray]:
        """See ``SpeechEncoder.stream``."""

        def encode(first: int) -> np.ndarray:
            return self._encode(log_mel(sound, first, WINDOW))

        for block in overlapped(encode, frames, WHISPER_WIDTH):
            yield (block / WHISPER_STD).reshape(-1, self.dim)

    def _encode(self, mel: np.ndarray) -> np.ndarray:
        import ctranslate2

        if self._model is None:
            ctranslate2.set_log_level(logging.ERROR)
            self._model = ctranslate2.models.Whisper(
                str(self.folder),
                device="cpu",
                compute_type="float32",
                inter_threads=1,
                intra_threads=self.threads,
            )
        given = np.ascontiguousarray(mel.T[None], np.float32)
        view = self._model.encode(ctranslate2.StorageView.from_array(given))
        return np.array(view, np.float32)[0]


def overlapped(
    encode: Callable[[int], np.ndarray], frames: int, width: int
) -> Iterator[np.ndarray]:
    """Weighted mean of overlapping windows, second by second.

    Args:
        encode: first mel hop of a window -> its vectors, (WINDOW / 2, width).
        frames: how many are wanted.
        width: of a vector.

    Yields:
        (2 n, width) float32: both vectors of each frame, ``FPS`` frames at a time.
    """
    total, weight = np.zeros((WINDOW // 2, width), np.float32), fade()[:, None]
    step, left, first = STEP // 2, 2 * frames, -LEAD
    while left > 0:
        if first + EDGE < frames * FRAME_HOPS:
            total += encode(first) * weight
        if first >= 0:  # no later window reaches these
            yield total[: min(step, left)].copy()
            left -= step
        total[:-step] = total[step:]
        total[-step:] = 0
        first += STEP


def fade() -> np.ndarray:
    """Weight of each vector in its window (WINDOW / 2,): sin², so that windows add up to one."""
    hop = np.arange(0, WINDOW, 2)
    phase = np.clip((hop - EDGE) / (WINDOW - 2 * EDGE), 0.0, 1.0)
    return (np.sin(np.pi * phase) ** 2 * 2 * STEP / (WINDOW - 2 * EDGE)).astype(np.float32)
