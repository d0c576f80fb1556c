"""Fits NIQE's model of natural pictures to the photos that open packages carry.

    python bench/fit_niqe.py            checks the committed model against a new fit
    python bench/fit_niqe.py --write    writes it

scikit-image's and matplotlib's photos are public domain or CC0, scikit-learn's CC BY 2.0
(china.jpg: Jared Dillard; flower.jpg: vultilion). astronaut.png and chelsea.png are left out: tests
judge them.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file, save_file

from models.experts.niqe import NATURAL, fit

PHOTOS = {
    "skimage": (
        "data/camera.png", "data/coffee.png", "data/rocket.jpg", "data/grass.png",
        "data/brick.png", "data/gravel.png", "data/motorcycle_left.png",
        "data/motorcycle_right.png",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
}  # fmt: skip
SCALES = (1.0, 0.7, 0.5)
"""Each photo also counts shrunk: there are few, and cameras' own blur and noise go."""


def pictures() -> list[np.ndarray]:
    """Photos (H, W, 3) uint8 RGB at all scales that leave at least 192 px."""
    found = []
    for package, names in PHOTOS.items():
        spec = importlib.util.find_spec(package)
        assert spec is not None, f"{package} is not installed"
        root = Path(str((spec.submodule_search_locations or [""])[0]))
        for name in names:
            photo = cv2.cvtColor(cv2.imread(str(root / name)), cv2.COLOR_BGR2RGB)
            found += [
                cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                for scale in SCALES
                if min(photo.shape[:2]) * scale >= 192
            ]
    return found


if __name__ == "__main__":
    photos = pictures()
    natural = fit(photos)
    if "--write" in sys.argv:
        save_file({"mean": natural.mean, "covariance": natural.covariance}, NATURAL)
    known = load_file(NATURAL)
    apart = max(
        float(np.abs(known["mean"] - natural.mean).max()),
        float(np.abs(known["covariance"] - natural.covariance).max()),
    )
    print(f"{len(photos)} pictures; the committed model differs by at most {apart:.2g}")
