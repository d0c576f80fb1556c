"""The metrics that are made of nets: those that can be computed here, and what the others lack."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from core.weights import REGISTRY, Store
from evaluation.metrics import identity
from evaluation.metrics.fid import Fid
from evaluation.metrics.frechet_standin import LatentFrechet
from evaluation.metrics.fvd import Fvd
from evaluation.metrics.hyper_iqa import HyperIqa
from evaluation.metrics.lip_score import LipScore
from evaluation.metrics.lpips import LpipsAlex
from evaluation.metrics.lse import LseC, LseD
from evaluation.metrics.niqe import Niqe, NiqeFitted
from evaluation.metrics.vbench_consistency import BackgroundConsistency, SubjectConsistency
from evaluation.metrics.vbench_motion import DynamicDegree, MotionSmoothness
from evaluation.metrics.vbench_quality import AestheticQuality, ImagingQuality
from evaluation.metrics.vbench_total import VBenchTotal
from evaluation.videos import Missing, VideoMetric

RANDOM = "random/"
"""What names of metrics with random weights begin with."""


MAKERS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "fid": (Fid.needs, Fid),
    "fvd": (Fvd.needs, Fvd),
    "lip_score": (LipScore.needs, LipScore),
    "lse_c": (LseC.needs, LseC),
    "lse_d": (LseD.needs, LseD),
    "id_mobilefacenet": (("mobilefacenet",), identity.mobilefacenet),
    "id_arcface": (("arcface_w600k_r50",), identity.arcface),
    "id_facenet512": (("facenet512",), identity.facenet512),
    "hyper_iqa": (HyperIqa.needs, HyperIqa),
    "niqe": (Niqe.needs, Niqe),
    "lpips": (LpipsAlex.needs, LpipsAlex),
    "vbench_subject_consistency": (SubjectConsistency.needs, SubjectConsistency),
    "vbench_background_consistency": (BackgroundConsistency.needs, BackgroundConsistency),
    "vbench_motion_smoothness": (MotionSmoothness.needs, MotionSmoothness),
    "vbench_dynamic_degree": (DynamicDegree.needs, DynamicDegree),
    "vbench_aesthetic_quality": (AestheticQuality.needs, AestheticQuality),
    "vbench_imaging_quality": (ImagingQuality.needs, ImagingQuality),
    "vbench_total": (VBenchTotal.needs, VBenchTotal),
}
"""Metric -> names of its weights, and what makes it from their files."""


def of_videos(
    store: Store, features: Path | None, threads: int = 1
) -> tuple[list[VideoMetric], list[Missing]]:
    """See ``evaluation.metrics.of_videos``."""
    found: list[VideoMetric] = [LatentFrechet(features, threads), NiqeFitted(features)]
    missing = []
    for name, (needs, make) in MAKERS.items():
        lacking = tuple(weight for weight in needs if not store.has(weight))
        if lacking:
            remedies = [REGISTRY[weight].remedy(store.folders) for weight in lacking]
            missing.append(Missing(name, lacking, "; ".join(dict.fromkeys(remedies))))
        else:
            files = [store.locate(weight) for weight in needs]
            found.append(make(*files, features=features, threads=threads, name=name))
    return found, missing


def random_backbones(
    folder: Path,
    features: Path | None = None,
    threads: int = 1,
    only: Collection[str] | None = None,
) -> list[VideoMetric]:
    """See ``evaluation.metrics.random_backbones``."""
    # Imported here: torch.
    from evaluation.metrics.stand_ins import STAND_INS

    found = []
    for name, (needs, make) in MAKERS.items():
        if only is not None and name not in only:
            continue
        files = [folder / REGISTRY[weight].file for weight in needs]
        for weight, file in zip(needs, files, strict=True):
            if not file.is_file():
                STAND_INS[weight](file)
        metric = make(*files, features=features, threads=threads, name=RANDOM + name)
        metric.needs = ()
        found.append(metric)
    return found
