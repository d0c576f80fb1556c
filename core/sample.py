"""Every field of a training sample: extension, shape, meaning, and the schema's version.

One sample is one clip segment of at most ``SEGMENT_S`` seconds at ``FPS`` frames a second. T is its
number of frames, S the crop's side in pixels, (C, h, w) the codec's latent. A recipe may store
latents as uint8 (``core.latents``).
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

SCHEMA_VERSION = 2
ALIKE = (1, 2)
"""Versions whose fields mean the same to a trained net; 2 stores crops as JPEGs."""
FPS = 25
SAMPLE_RATE = 16_000
SEGMENT_S = 10.0
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)
"""Quality 95, colours at full resolution (4:4:4)."""
HELD_OUT = 0.2
"""The last part of a clip's time that no stage trains on."""
HELD_OUT_GAP = 3
"""Frames left out between training and held-out time: neighbours look alike."""

Sample = dict[str, Any]
"""A decoded sample: ``key`` plus fields by name."""


@dataclass(frozen=True)
class Field:
    """One member of a sample: ``<key>.<name>.<codec>`` in the tar."""

    codec: str
    shape: str
    meaning: str
    required: bool = True


SCHEMA: Mapping[str, Field] = {
    "info": Field("json", "-", "clip id, speaker, split, first_frame, clip_frames, facts"),
    "video": Field(
        "mp4", "T x S_m x S_m", "the source at a generous margin around the face, H.264"
    ),
    "sound": Field("flac", "T/FPS seconds", "16 kHz mono sound of the segment"),
    "crop": Field("jpegs", "T,S,S,3 uint8", "canonical face crop, RGB, within JPEG's error"),
    "landmarks": Field("npy", "T,468,3 float32", "mesh points in crop pixels (x, y), z relative"),
    "transform": Field("npy", "T,2,3 float32", "affine map from video frame pixels to crop pixels"),
    "mask": Field("mask", "T,S,S bool", "lower-face mask M: True where the editor may paint"),
    "lips_mask": Field("mask", "T,S,S bool", "lips mask M_lips"),
    "expression": Field("npy", "T,E float32", "frozen expression features (landmark geometry)"),
    "pose": Field("npy", "T,3 float32", "head pose: yaw, pitch, roll in degrees"),
    "opening": Field("npy", "T float32", "measured inner-lip opening over face height"),
    "latent_source": Field("npy", "T,C,h,w float16", "codec latent of the crop (mode)"),
    "latent_masked": Field(
        "npy", "T,C,h,w float16", "codec latent of the crop with M painted grey"
    ),
    "latent_source_variants": Field(
        "npy", "T,V,C,h,w float16", "latent_source of V changed copies of the crop", required=False
    ),
    "latent_masked_variants": Field(
        "npy", "T,V,C,h,w float16", "latent_masked of the same copies", required=False
    ),
    "variants": Field(
        "npy", "T,V,5 float32", "how each copy was changed (core.media.colour)", required=False
    ),
    "speech": Field("npy", "T,D float16", "speech encoder features at the frames' times"),
    "emotion": Field(
        "npy", "7 float32", "speech emotion of the whole segment, probabilities", required=False
    ),
    "viseme": Field("npy", "T float32", "true mouth opening of a synthetic clip", required=False),
    "mask_latent": Field("mask", "T,h,w bool", "latent mask m: cells that M touches", False),
    "parsing": Field("labels", "T,S,S uint8", "face parts, ids of core.media.parsing", False),
    "identity": Field("npy", "D float32", "who it is: unit vector, mean of some frames", False),
}


def encode_field(name: str, value: Any) -> bytes:
    """A field's bytes for the tar: JPEGs, masks packed to bits, labels deflated, ``.npy``.

    Bytes are taken as they are: mp4 and flac, and what is encoded already.
    """
    codec = SCHEMA[name].codec
    if isinstance(value, bytes):
        return value
    if codec == "json":
        return json.dumps(value, sort_keys=True).encode()
    if codec == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(value), allow_pickle=False)
        return buffer.getvalue()
    if codec == "jpegs":
        return _jpegs(value)
    if codec == "mask":
        buffer = io.BytesIO()
        shape = np.asarray(value.shape, dtype=np.int32)
        np.save(buffer, shape, allow_pickle=False)
        np.save(buffer, np.packbits(value.astype(bool)), allow_pickle=False)
        return buffer.getvalue()
    if codec == "labels":
        # Neighbouring frames look alike: their differences are mostly 0 and deflate well.
        change = np.diff(value, axis=0, prepend=np.zeros_like(value[:1]))
        sides = np.asarray(value.shape, dtype="<i4").tobytes()
        return sides + zlib.compress(np.ascontiguousarray(change, np.uint8).tobytes(), 6)
    raise TypeError(f"{name} is a {codec}: give its bytes")


def decode_field(name: str, data: bytes) -> Any:
    """The inverse of ``encode_field``; mp4 and flac stay bytes."""
    codec = SCHEMA[name].codec
    if codec == "json":
        return json.loads(data)
    if codec == "npy":
        return np.load(io.BytesIO(data), allow_pickle=False)
    if codec == "jpegs":
        return _pictures(data)
    if codec == "mask":
        buffer = io.BytesIO(data)
        shape = tuple(int(n) for n in np.load(buffer, allow_pickle=False))
        bits = np.load(buffer, allow_pickle=False)
        return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
    if codec == "labels":
        change = np.frombuffer(zlib.decompress(data[12:]), np.uint8)
        change = change.reshape(np.frombuffer(data[:12], "<i4"))
        return np.cumsum(change, axis=0, dtype=np.uint8)  # wraps round, as the difference did
    return data


def _jpegs(pictures: np.ndarray) -> bytes:
    """Pictures (T, H, W, 3) uint8 RGB as T, the length of each JPEG, and the JPEGs."""
    files = [cv2.imencode(".jpg", picture[..., ::-1], JPEG)[1].tobytes() for picture in pictures]
    head = np.array([len(files), *map(len, files)], "<i4")
    return b"".join([head.tobytes(), *files])


def _pictures(data: bytes) -> np.ndarray:
    """The inverse of ``_jpegs``."""
    count = int(np.frombuffer(data, "<i4", 1)[0])
    lengths = np.frombuffer(data, "<i4", count, 4)
    ends = 4 * (count + 1) + np.cumsum(lengths)
    whole = np.frombuffer(data, np.uint8)
    parts = [whole[end - n : end] for end, n in zip(ends, lengths, strict=True)]
    return np.stack([np.asarray(cv2.imdecode(part, cv2.IMREAD_COLOR_RGB)) for part in parts])


def time_split(info: Mapping[str, Any], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame indices of a segment that belong to training and to held-out time.

    The last ``HELD_OUT`` of the *clip's* time is held out, whichever segments it falls in;
    ``HELD_OUT_GAP`` frames before it belong to neither.

    Args:
        info: the sample's ``info`` field (``first_frame``, ``clip_frames``).
        frames: T of this segment.

    Returns:
        (train, held_out), each int64 indices into the segment.
    """
    index = np.arange(frames)
    at = index + int(info["first_frame"])
    border = round(int(info["clip_frames"]) * (1 - HELD_OUT))
    return index[at < border - HELD_OUT_GAP], index[at >= border]
