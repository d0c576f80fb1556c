"""What a system must beat: crops of held-out frames from the person's own training frames.

Every baseline keeps the held-out frame and pastes a mouth into the clip's measured box, feathered
outside it: inside the box the pixels are the baseline's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from evaluation.clip_data import ClipData

Renderer = Callable[[ClipData], np.ndarray]
"""A clip -> crops (N,S,S,3 uint8) of its held-out frames."""

FEATHER_PX = 5
"""Width of the seam outside the box, at crop resolution; a hard edge would mislead the mesh."""

POSE_WEIGHT = 0.5
"""Share of pose beside lips in the nearest frame's distance, each scaled to unit total variance."""

LAMBDAS = tuple(float(10.0**k) for k in range(-2, 7))
TAIL = 0.25
"""Last part of training time on which the ridge chooses its lambda."""

SPEECH_RADIUS = 3
"""Frames of speech seen to each side by the ridge: 7 frames are 0.28 s."""


def paste_box(frames: np.ndarray, mouths: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Frames with the box of other crops pasted in.

    Args:
        frames: (N,S,S,3) uint8.
        mouths: crops of the same shape, or one (S,S,3), uint8 or float.
        box: (4,) x0,y0,x1,y1.

    Returns:
        (N,S,S,3) uint8: ``mouths`` inside the box, ``frames`` from ``FEATHER_PX`` outside it on.
    """
    x0, y0, x1, y1 = (int(v) for v in box)
    outside = np.ones(frames.shape[1:3], np.uint8)
    outside[y0:y1, x0:x1] = 0
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    alpha = np.clip(1 - distance / FEATHER_PX, 0, 1)[None, :, :, None]
    blended = frames * (1 - alpha) + np.asarray(mouths, np.float32) * alpha
    return np.round(blended).astype(np.uint8)


def copy_reference(clip: ClipData) -> np.ndarray:
    """The reference frame's mouth in every held-out frame."""
    return paste_box(clip.truth, clip["crop"][clip.reference], clip.box)


def mean_mouth(clip: ClipData) -> np.ndarray:
    """The mean of all training mouths in every held-out frame."""
    return paste_box(clip.truth, clip["crop"][clip.train].mean(axis=0), clip.box)


def nearest_index(
    wanted: np.ndarray,
    lips: np.ndarray,
    wanted_pose: np.ndarray,
    pose: np.ndarray,
    pose_weight: float = POSE_WEIGHT,
) -> np.ndarray:
    """For each wanted frame the training frame nearest by lips vector and pose.

    Args:
        wanted: (N,L) lips vectors.
        lips: (M,L) of the training frames.
        wanted_pose: (N,3) degrees.
        pose: (M,3) of the training frames.
        pose_weight: 0 looks at the lips only.

    Returns:
        (N,) int64 indices into the training frames.
    """
    distance = _spread_distance(wanted, lips)
    distance += pose_weight * _spread_distance(wanted_pose, pose)
    return distance.argmin(axis=1)


def _spread_distance(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Squared distances (N,M) over the known vectors' total variance."""
    a, b = np.asarray(wanted, np.float64), np.asarray(known, np.float64)
    total = b.var(axis=0).sum()
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.maximum(square, 0) / max(total, 1e-12)


def nearest_frame(clip: ClipData, lips: np.ndarray | None = None) -> np.ndarray:
    """The mouth of the training frame that is nearest by lips vector and pose: the honest opponent.

    Args:
        clip: its held-out frames' true lips vectors and poses are looked at.
        lips: (T,L) lips vectors of the whole clip; the expression features by default.
    """
    vectors = clip["expression"] if lips is None else lips
    return _retrieved(clip, vectors[clip.held_out], vectors[clip.train])


def _retrieved(clip: ClipData, wanted: np.ndarray, lips: np.ndarray) -> np.ndarray:
    pose = clip["pose"]
    chosen = nearest_index(wanted, lips, pose[clip.held_out], pose[clip.train])
    return paste_box(clip.truth, clip["crop"][clip.train[chosen]], clip.box)


# -- ridge regression from speech -------------------------------------------------------------


def windows(features: np.ndarray, radius: int = SPEECH_RADIUS) -> np.ndarray:
    """Each frame's features with its neighbours', (T, (2 radius + 1) D); ends are repeated."""
    count = len(features)
    around = np.arange(count)[:, None] + np.arange(-radius, radius + 1)
    return np.asarray(features, np.float64)[around.clip(0, count - 1)].reshape(count, -1)


def ridge(
    features: np.ndarray,
    targets: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    radius: int = SPEECH_RADIUS,
    lambdas: Sequence[float] = LAMBDAS,
) -> np.ndarray:
    """Ridge regression from speech to any target, closed form; opponent of the audio stage.

    Inputs are standardised and targets centred on training time; lambda is chosen on the last
    ``TAIL`` of training time (mean squared error), then all of it is fitted.

    Args:
        features: (T,D) speech features of the whole clip.
        targets: (T,K) or (T,): opening, expression or lips vectors; only ``train`` is looked at.
        train: indices into T to fit on.
        held_out: indices into T to predict.
        radius: frames of speech seen to each side.
        lambdas: candidates.

    Returns:
        (N,K) or (N,): targets predicted for ``held_out``.
    """
    inputs = windows(features, radius)
    y = np.asarray(targets, np.float64).reshape(len(targets), -1)
    cut = max(1, round(len(train) * (1 - TAIL)))
    early, late = train[:cut], train[cut:]
    best = lambdas[0]
    if len(late):
        tried = _fit(inputs[early], y[early], inputs[late], lambdas)
        best = lambdas[int(np.argmin([np.mean((p - y[late]) ** 2) for p in tried]))]
    found = _fit(inputs[train], y[train], inputs[held_out], [best])[0]
    return found.reshape(len(held_out), *np.shape(targets)[1:])


def _fit(
    x: np.ndarray, y: np.ndarray, new: np.ndarray, lambdas: Sequence[float]
) -> list[np.ndarray]:
    """Predictions (N,K) for each lambda; in the dual, for features outnumber frames."""
    mean, spread = x.mean(0), x.std(0) + 1e-6
    x, new = (x - mean) / spread, (new - mean) / spread
    # One eigendecomposition serves every lambda.
    values, vectors = np.linalg.eigh(x @ x.T)
    middle = y.mean(0)
    turned = vectors.T @ (y - middle)
    side = (new @ x.T) @ vectors
    return [side @ (turned / (np.maximum(values, 0) + lam)[:, None]) + middle for lam in lambdas]


def ridge_opening(clip: ClipData, radius: int = SPEECH_RADIUS) -> np.ndarray:
    """Opening of the held-out frames that the ridge hears in the clip's own speech, (N,)."""
    return ridge(clip["speech"], clip["opening"], clip.train, clip.held_out, radius)


def ridge_frame(clip: ClipData) -> np.ndarray:
    """Ridge to expression features, then the nearest training frame's mouth, by them and pose."""
    lips = clip["expression"]
    predicted = ridge(clip["speech"], lips, clip.train, clip.held_out)
    return _retrieved(clip, predicted, lips[clip.train])


BASELINES: Mapping[str, Renderer] = {
    "copy_reference": copy_reference,
    "mean_mouth": mean_mouth,
    "nearest_frame": nearest_frame,
    "ridge": ridge_frame,
}
"""Baselines that need nothing but the clip, by the name in report keys."""
