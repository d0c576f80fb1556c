"""Between the passes: which frames are edited, how they are cut out, which serve as references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.media.crop import CropSpec, invert
from inference.tracks import BLOCK, Tracks

FADE = 3
"""Frames over which the edit comes and goes beside frames that can't be edited; without it the
mouth pops."""
MAX_YAW = 60.0
"""Degrees; beyond it half of the mouth is hidden and the mesh guesses."""
MIN_FACE = 24.0
"""Eye-to-eye-corner pixels times 2: a smaller face holds fewer mouth pixels than a letter."""
MAX_OUTSIDE = 0.25
"""Part of the crop's lower half that may lie outside the picture."""
CLOSED_QUANTILE = 0.1


@dataclass(frozen=True)
class Plan:
    """What pass two does with each of T frames.

    Attributes:
        tracks: what pass one found.
        transforms: (T, 2, 3) float32, frame pixels -> crop pixels; None for whole-frame systems.
        weight: (T,) in [0, 1], how much of the edit is shown; 0 means untouched.
        reasons: per frame, why it is untouched, or "".
        references: indices of the reference frames.
    """

    tracks: Tracks
    transforms: np.ndarray | None
    weight: np.ndarray
    reasons: tuple[str, ...]
    references: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.weight)

    def untouched(self) -> list[dict[str, object]]:
        """Runs of untouched frames: ``first`` and ``last`` frame, ``start_s``, ``reason``."""
        return runs(self.reasons, self.tracks.times_s)


def runs(reasons: Sequence[str], times_s: np.ndarray) -> list[dict[str, object]]:
    """Runs of frames with one reason that is not "": ``first``, ``last``, ``start_s``, ``reason``.

    Args:
        reasons: one a frame.
        times_s: (T,).
    """
    found: list[dict[str, object]] = []
    edges = [i for i in range(len(reasons)) if i == 0 or reasons[i] != reasons[i - 1]]
    for first, end in pairwise([*edges, len(reasons)]):
        if reasons[first]:
            start, reason = round(float(times_s[first]), 3), reasons[first]
            found.append({"first": first, "last": end - 1, "start_s": start, "reason": reason})
    return found


def plan_crops(tracks: Tracks, crop: CropSpec, size: tuple[int, int], references: int) -> Plan:
    """The plan of a system that edits face crops.

    Args:
        tracks: what pass one found; at least one frame has a face.
        crop: how the system wants faces cut out.
        size: (width, height) of the video.
        references: how many reference frames it wants.
    """
    transforms = _fitted(tracks, crop)
    reasons = tuple(
        _reason(tracks, index, transforms[index], crop.size, size) for index in range(len(tracks))
    )
    usable = np.array([not reason for reason in reasons], dtype=bool)
    chosen = pick_references(tracks, usable if usable.any() else tracks.found, references)
    return Plan(tracks, transforms, _faded(usable), reasons, chosen)


def plan_frames(times_s: Sequence[float], references: int) -> Plan:
    """The plan of a system that edits whole frames: every frame, references evenly spread."""
    count = len(times_s)
    zeros, no = np.zeros(count), np.zeros(count, dtype=bool)
    landmarks = np.zeros((count, 0, 3), np.float32)
    tracks = Tracks(np.array(times_s), no, landmarks, zeros, zeros, zeros, no, 0)
    places = (np.arange(references) + 0.5) * count / max(1, references)
    return Plan(tracks, None, np.ones(count), ("",) * count, tuple(places.astype(int).tolist()))


def pick_references(tracks: Tracks, usable: np.ndarray, count: int) -> tuple[int, ...]:
    """Indices of ``count`` reference frames, in time's order: spread, sharp, frontal.

    One of them has its mouth closed, as far as the video shows that. Frames repeat when there are
    fewer usable ones than asked for.
    """
    where = np.flatnonzero(usable)
    if not len(where) or count < 1:
        return ()
    sharp = tracks.sharpness / max(float(tracks.sharpness[where].max()), 1e-6)
    score = sharp - np.abs(tracks.yaw) / 90
    parts = np.array_split(where, min(count, len(where)))
    chosen = [int(part[np.argmax(score[part])]) for part in parts]
    chosen += [chosen[i % len(parts)] for i in range(count - len(chosen))]
    limit = np.quantile(tracks.opening[where], CLOSED_QUANTILE) + 1e-6
    closed = where[tracks.opening[where] <= limit]
    if not any(tracks.opening[index] <= limit for index in chosen):
        best = int(closed[np.argmax(score[closed])])
        chosen[int(np.argmin([abs(best - index) for index in chosen]))] = best
    return tuple(sorted(chosen))


def _fitted(tracks: Tracks, crop: CropSpec) -> np.ndarray:
    """Transforms (T, 2, 3), smoothed within each run of one face and never across a cut."""
    out = np.zeros((len(tracks), 2, 3), np.float32)
    edge = tracks.start.copy()
    edge[1:] |= tracks.found[:-1] & ~tracks.found[1:]
    for run in np.split(np.arange(len(tracks)), np.flatnonzero(edge)):
        if len(run) and tracks.found[run[0]]:
            _fit_run(tracks, crop, int(run[0]), int(run[-1]) + 1, out)
    return out


def _fit_run(tracks: Tracks, crop: CropSpec, first: int, end: int, out: np.ndarray) -> None:
    """Fits one run block by block: a block and the frames its smoothing looks at, no hour of it."""
    reach = int(np.ceil(4 * crop.smoothing)) + 1
    for start in range(first, end, BLOCK):
        stop = min(start + BLOCK, end)
        low, high = max(first, start - reach), min(end, stop + reach)
        fitted = crop.fit(tracks.landmarks[low:high], tracks.found[low:high])
        out[start:stop] = fitted[start - low : stop - low]


def _reason(
    tracks: Tracks, index: int, transform: np.ndarray, side: int, size: tuple[int, int]
) -> str:
    """Why a frame can't be edited, or ""."""
    if not tracks.found[index]:
        return "no face found"
    eyes = tracks.landmarks[index, [33, 263], :2]
    if 2 * float(np.linalg.norm(eyes[1] - eyes[0])) < MIN_FACE:
        return "face too small"
    if abs(float(tracks.yaw[index])) > MAX_YAW:
        return "face turned away"
    grid = (np.stack(np.meshgrid(np.arange(8), np.arange(4, 8)), -1).reshape(-1, 2) + 0.5) / 8
    back = invert(transform)
    places = (grid * side) @ back[:, :2].T + back[:, 2]
    outside = ((places < 0) | (places > np.array(size) - 1)).any(1).mean()
    return "face cut off by the picture's edge" if outside > MAX_OUTSIDE else ""


def _faded(usable: np.ndarray) -> np.ndarray:
    """(T,) weights: 1 inside runs of usable frames, falling towards untouched neighbours."""
    blocked = np.flatnonzero(~usable)
    if not len(blocked):
        return np.ones(len(usable))
    after = np.searchsorted(blocked, np.arange(len(usable)))
    far = len(usable) + FADE
    padded = np.concatenate([[-far], blocked, [len(usable) + far]])
    index = np.arange(len(usable))
    distance = np.minimum(padded[after + 1] - index, index - padded[after])
    return np.where(usable, np.minimum(distance / (FADE + 1), 1.0), 0.0)
