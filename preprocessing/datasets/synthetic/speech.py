"""Speech with the times of its phonemes: the hibari voice, read out and turned into many speakers.

The voice's ONNX graph works out how long each phoneme lasts but doesn't give it out; we add that
value to the graph's outputs. Its unit is two frames of 12.5 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import signal

from preprocessing.datasets.synthetic.person import Voice

RATE = 16000
_VOICE_RATE = 24000
_UNIT_S = 0.025
# The sound of a phoneme comes this much before its place in the duration table: over 128 stops p, b
# the energy minimum of the closure lies 40 ms before the table's start, its middle 67 ms early.
LEAD_S = 0.067
_DURATIONS = "/Cast_32_output_0"
_STRESS = "ˈˌː"
_LENGTH_DELIMITED, _GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 2, 7, 12, 1


@dataclass(frozen=True)
class Phoneme:
    """A phoneme (misaki alphabet; " " and punctuation are pauses) and when it is heard."""

    symbol: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Utterance:
    """Speech: mono float32 at 16 kHz, and its phonemes in order."""

    sound: np.ndarray
    phonemes: tuple[Phoneme, ...]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            return value, at


def _field(number: int, body: bytes) -> bytes:
    out = bytearray()
    for value in (number << 3 | _LENGTH_DELIMITED, len(body)):
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out) + body


def with_output(model: bytes, name: str) -> bytes:
    """An ONNX model with one more of its inner values as the last output (protobuf wire format)."""
    out, at = [], 0
    while at < len(model):
        start = at
        key, at = _varint(model, at)
        if key & 7 != _LENGTH_DELIMITED:
            _, at = _varint(model, at)
            out.append(model[start:at])
            continue
        length, at = _varint(model, at)
        body = model[at : at + length]
        at += length
        if key >> 3 == _GRAPH:
            body += _field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode()))
        out.append(_field(key >> 3, body))
    return b"".join(out)


@lru_cache(maxsize=1)
def _voice() -> tuple[object, object]:
    import onnxruntime
    from hibari import Hibari

    voice = Hibari()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = with_output(Path(voice.model_path).read_bytes(), _DURATIONS)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return voice, session


def speak(text: str, voice: Voice, seed: int) -> Utterance:
    """Says one sentence; the same arguments give the same samples.

    Formants and pitch move together by resampling (``voice.tract``), the pace is set right before
    that, and the fundamental is scaled in the voice's own source to reach ``voice.pitch``.
    """
    from hibari import dsp

    engine, session = _voice()
    rng = np.random.default_rng(seed)
    sounds, phonemes, clock = [], [], 0.0
    for sentence in engine.phonemize(text):  # type: ignore[attr-defined]
        symbols = ["", *(c for c in sentence if c in engine.vocab), ""]  # type: ignore[attr-defined]
        ids = np.asarray([engine.ids(sentence)], np.int64)  # type: ignore[attr-defined]
        speed = np.asarray([voice.pace / voice.tract], np.float32)
        *parts, durations = session.run(None, {"ids": ids, "speed": speed})  # type: ignore[attr-defined]
        lh, th, ln, lr, phi, f0 = (part[0] for part in parts)
        sound = dsp.synth(lh, th, ln, lr, phi, f0 * (voice.pitch / voice.tract), rng)
        sounds.append(sound)
        phonemes += _timed(symbols, durations.ravel(), clock, len(sound) / _VOICE_RATE)
        clock += len(sound) / _VOICE_RATE
    return _resampled(np.concatenate(sounds), phonemes, voice.tract)


def _timed(symbols: list[str], units: np.ndarray, start_s: float, length_s: float) -> list[Phoneme]:
    ends = np.cumsum(units) * _UNIT_S - LEAD_S
    begins = ends - units * _UNIT_S
    out: list[Phoneme] = []
    carried: float | None = None  # a stress mark's time belongs to the vowel behind it
    for symbol, begin, end in zip(symbols, begins, ends, strict=True):
        if symbol in _STRESS and symbol:
            if symbol == "ː" and out:
                out[-1] = Phoneme(out[-1].symbol, out[-1].start_s, start_s + float(end))
            else:
                carried = float(begin) if carried is None else carried
            continue
        first = float(begin) if carried is None else carried
        carried = None
        low, high = max(0.0, first), min(length_s, max(0.0, float(end)))
        out.append(Phoneme(symbol or " ", start_s + low, start_s + high))
    out[-1] = Phoneme(" ", out[-1].start_s, start_s + length_s)
    return out


def _resampled(sound: np.ndarray, phonemes: list[Phoneme], tract: float) -> Utterance:
    # Playing at ``tract`` times the rate: up/down as a fraction with a small denominator.
    up, down = round(RATE * 100 / tract / 100), _VOICE_RATE
    divisor = int(np.gcd(up, down))
    slow = signal.resample_poly(sound, up // divisor, down // divisor).astype(np.float32)
    factor = up / down * _VOICE_RATE / RATE
    moved = tuple(Phoneme(p.symbol, p.start_s * factor, p.end_s * factor) for p in phonemes)
    return Utterance(slow, moved)
