"""LSE-C and LSE-D: do lips and sound go together, by SyncNet?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core.media.crop import invert, warp
from core.sample import SAMPLE_RATE
from evaluation.metrics.faces import filled, in_frames
from evaluation.metrics.features import Features, content
from evaluation.metrics.rows import finite_mean
from evaluation.videos import Kind, Seen, VideoCase

WINDOW, SHIFTS = 5, 31
"""Frames that SyncNet looks at, and frames by which it moves the sound, -15 to 15."""
SHARED = "syncnet distances"


class _Lse:
    """What both share: distances between lips and sound.

    Net: SyncNet v2 (weight ``syncnet_v2``, from ``syncnet_v2.model``). Reference: ``case.audio``,
    the new sound; no other video is looked at.

    Preprocessing, after syncnet_python's ``run_pipeline.py`` and ``SyncNetInstance.py``: 25 fps;
    the face's square, its place averaged by a median of 13 frames, with 0.4 of its half size beside
    it and 0.8 below, 224 px, BGR 0 to 255, grey 110 beyond the frame; windows of 5 frames against
    20 vectors of 13 MFCC. The mesh's square stands for S3FD's box, frames without a face lie
    between their neighbours, and nothing passes through JPG. Where whole frames were shrunk for
    measuring, the face itself is taken from the crop, which was not.

    Distances are averaged over a video's windows for each of 31 shifts of the sound.
    """

    needs: tuple[str, ...] = ("syncnet_v2",)
    kinds: tuple[Kind, ...] = ("self", "cross")
    whole = True
    name: str

    def __init__(
        self, weights: Path, features: Path | None = None, threads: int = 1, name: str = ""
    ) -> None:
        self.name = name or self.name
        self._weights, self._threads = weights, threads
        self._kept = Features(features, "syncnet_v2@1", weights)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``distances`` (T - 4, 31), NaN where no frame shows a face."""
        found = case.once(f"{SHARED} {self._weights}", lambda: self._distances(case))
        return {"distances": found}

    def _distances(self, case: VideoCase) -> np.ndarray:
        seen = case.output
        windows = max(len(seen) - WINDOW + 1, 0)
        mesh = filled(seen.mesh)
        if mesh is None or not windows:
            return np.full((windows, SHIFTS), np.nan)
        wanted = round(len(seen) * SAMPLE_RATE / seen.fps)
        sound = case.audio[:wanted]
        sound = np.pad(sound, (0, wanted - len(sound)))
        key = content(seen.frames, seen.crops, seen.mesh, seen.transforms, sound)
        return self._kept.of(key, lambda: self._compute(seen, mesh, sound))

    def _compute(self, seen: Seen, mesh: np.ndarray, sound: np.ndarray) -> np.ndarray:
        distances: np.ndarray = self._net.distances(*faces(seen, mesh), sound)
        return distances

    @cached_property
    def _net(self) -> Any:
        # Imported here: torch, needed only where the distances are not kept yet.
        from models.experts.syncnet import SyncNetExpert

        return SyncNetExpert(self._weights, self._threads)


class LseC(_Lse):
    """LSE-C: how sure SyncNet is of one delay: median minus least of the 31 mean distances, 0 or
    more; higher is better. SyncNet's own example.avi has 10.0.

    What fools it: systems trained against SyncNet pass real video, whose own value can be near 0.
    It says how sharply the fit peaks, not where: lips that are half a second off can have a high
    one, so see ``lse_c_offset``, which has to be about the source's.

    Args: as of ``Fid``. See ``_Lse`` for net, reference and preprocessing.
    """

    name = "lse_c"
    better: Literal["higher", "lower", "one"] = "higher"

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lse_c``: mean over videos; ``lse_c_offset``: frames that the sound must be moved by to
        fit best, mean of absolute values."""
        from models.experts.sync import synchrony

        found = [synchrony(known) for known in _known(rows)]
        return {
            self.name: finite_mean([each.confidence for each in found]),
            f"{self.name}_offset": finite_mean([float(abs(each.offset)) for each in found]),
        }


class LseD(_Lse):
    """LSE-D: the least of the 31 mean distances between lips and sound, 0 or more; lower is better.
    SyncNet's own example.avi has 5.35.

    What fools it: as LSE-C; and a face that says little to SyncNet, still or blurred, can lie
    nearer to every sound than one that speaks.

    Args: as of ``Fid``. See ``_Lse`` for net, reference and preprocessing.
    """

    name = "lse_d"
    better: Literal["higher", "lower", "one"] = "lower"

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """``lse_d``: mean over videos."""
        from models.experts.sync import synchrony

        return {self.name: finite_mean([synchrony(known).distance for known in _known(rows)])}


def _known(rows: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
    """Distances (N,31) of the videos that have some."""
    found = [np.asarray(row["distances"], np.float64) for row in rows]
    found = [each[np.isfinite(each).all(1)] for each in found]
    return [each for each in found if len(each)]


def faces(seen: Seen, mesh: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures and meshes as ``SyncExpert.distances`` takes them, each as sharp as it was kept.

    Args:
        seen: of T frames.
        mesh: (T,468,3) in crop pixels, finite.
    """
    from models.experts.syncnet import BESIDE, OUTSIDE, SIDE, face_boxes

    whole = in_frames(seen, mesh)
    if seen.frames.shape[2] == seen.size[0]:
        return list(seen.frames), whole
    pictures = []
    for i, turn in enumerate(face_boxes(whole)):
        frame = seen.frames[i]
        full = frame.shape[1] / seen.size[0], frame.shape[0] / seen.size[1]
        picture = warp(frame, _of_shrunk(turn, full), SIDE, OUTSIDE)
        placed = _chained(turn, invert(seen.transforms[i]))
        crop = warp(seen.crops[i], placed, SIDE, 0)
        inside = warp(np.full(seen.crops[i].shape[:2], 255, np.uint8), placed, SIDE, 0) == 255
        picture[inside] = crop[inside]
        pictures.append(picture)
    # A box that makes SyncNet's crop of such a picture the picture itself.
    half = SIDE / 2 / (1 + BESIDE)
    box = np.zeros((len(seen), 468, 3), np.float32)
    box[:, 1:, :2] = 2 * half
    box[..., 0] += SIDE / 2 - half
    return pictures, box


def _of_shrunk(turn: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """A map (2,3) of full-sized frames' pixels, for frames shrunk by ``scale`` (x, y)."""
    # Pixel centres: x of the small frame is (x + 0.5) scale - 0.5 of the full one's.
    back = np.array([[1 / scale[0], 0, 0.5 / scale[0] - 0.5], [0, 1 / scale[1], 0]])
    back[1, 2] = 0.5 / scale[1] - 0.5
    return _chained(turn, back)


def _chained(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Affine maps (2,3), one after the other."""
    turn = second[:, :2] @ first[:, :2]
    return np.column_stack([turn, second[:, :2] @ first[:, 2] + second[:, 2]]).astype(np.float32)
