"""Identity: is it still the person of the source?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluation.metrics.features import EVERY, Features, content
from evaluation.metrics.rows import finite_mean, pooled
from evaluation.videos import Kind, Seen, VideoCase


class Identity:
    """Cosine of two face embeddings, output and source, -1 to 1; higher is better.

    Reference: the same frame of the source, in cross and silent cases too; every fifth frame is
    looked at. Where either shows no face it is left out of the mean and counted in ``..._found``.

    Nets, by the number's name; each prepares the face from crops of ``Viewing.crop`` and their mesh
    as it was trained:

    - ``id_mobilefacenet``: MobileFaceNet (weight ``mobilefacenet``, 128 numbers): five points on
      ArcFace's template, 112 px, ImageNet's mean and deviation.
    - ``id_arcface``: ArcFace, ResNet-50 (weight ``arcface_w600k_r50``, 512 numbers): as above,
      (x - 127.5) / 127.5. Papers call this number CSIM; it is not given twice.
    - ``id_facenet512``: FaceNet-512 (weight ``facenet512``): as DeepFace prepares it, which the
      FlashLips paper uses: eyes level, the face's box in 160 px, BGR in [0, 1].

    What fools it: the mouth is a small part of a face, so systems that leave the rest alone are all
    near 1, and a frozen frame is, too. Blur and pose lower it as another person does.

    Args:
        net: has ``embed`` and a length ``dim``.
        name: of the number.
        needs: name of the registered weight.
        weights: its file.
        features: folder where vectors are kept by content; None keeps none.
    """

    better: Literal["higher", "lower", "one"] = "higher"
    kinds: tuple[Kind, ...] = ("self", "cross", "silent")

    def __init__(
        self, net: Any, name: str, needs: str, weights: Path, features: Path | None = None
    ) -> None:
        self.name, self.needs = name, (needs,)
        self._net = net
        self._kept = Features(features, f"{needs}@2", weights)

    def observe(self, case: VideoCase) -> Mapping[str, np.ndarray]:
        """``cosine`` of the frames looked at, NaN where a face is missing."""
        ours, theirs = self._vectors(case.output), self._vectors(case.source)
        return {"cosine": (ours * theirs).sum(1)}

    def reduce(self, rows: Sequence[Mapping[str, np.ndarray]]) -> Mapping[str, float]:
        """The mean over frames with two faces, and ``NAME_found``, their share."""
        values = pooled(rows, "cosine")
        return {
            self.name: finite_mean(values),
            f"{self.name}_found": float(np.isfinite(values).mean()) if len(values) else 0.0,
        }

    def _vectors(self, seen: Seen) -> np.ndarray:
        """(T,dim) of every ``EVERY``-th frame, of length 1, NaN where there is no face."""
        crops, mesh, found = (a[::EVERY] for a in (seen.crops, seen.mesh, seen.found))
        return self._kept.of(content(crops, mesh), lambda: self._compute(crops, mesh, found))

    def _compute(self, crops: np.ndarray, mesh: np.ndarray, found: np.ndarray) -> np.ndarray:
        nobody = np.full(self._net.dim, np.nan, np.float32)
        faces = zip(crops, mesh, found, strict=True)
        return np.stack([self._net.embed(c, m) if there else nobody for c, m, there in faces])


def mobilefacenet(
    weights: Path, features: Path | None = None, threads: int = 1, name: str = "id_mobilefacenet"
) -> Identity:
    """Identity by MobileFaceNet."""
    from models.experts.face_nets import MobileFaceNet

    return Identity(MobileFaceNet(weights, threads), name, MobileFaceNet.name, weights, features)


def arcface(
    weights: Path, features: Path | None = None, threads: int = 1, name: str = "id_arcface"
) -> Identity:
    """Identity by InsightFace's ArcFace; what papers call CSIM."""
    from models.experts.face_nets import ArcFace512

    return Identity(ArcFace512(weights, threads), name, ArcFace512.name, weights, features)


def facenet512(
    weights: Path, features: Path | None = None, threads: int = 1, name: str = "id_facenet512"
) -> Identity:
    """Identity by FaceNet-512, as the FlashLips paper has it."""
    from models.experts.face_nets import FaceNet512

    return Identity(FaceNet512(weights, threads), name, FaceNet512.name, weights, features)
