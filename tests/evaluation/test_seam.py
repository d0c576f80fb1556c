"""The seam's measure: an edge shows, a matched paste does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.media.crop import FLASHLIPS_128, paste, warp, warp_points
from core.media.shapes import paste_alpha
from core.testing import talking_frame
from evaluation.metrics.seam import Energy, edge_energy, seam, seam_ratio

SIZE = (320, 240)
FRAMES = range(0, 12, 3)


def textured(index):
    """A talking frame with skin that is not flat, its mask, and what pastes a crop into it."""
    frame, mesh = talking_frame(index, *SIZE)
    grain = np.random.default_rng(index).normal(0, 25, frame.shape).astype(np.float32)
    frame = np.clip(frame + cv2.GaussianBlur(grain, (0, 0), 1.0), 0, 255).astype(np.uint8)
    transform = FLASHLIPS_128.fit(mesh[None], np.ones(1, bool))[0]
    alpha = paste_alpha(warp_points(mesh, transform), 128)
    white = np.full((128, 128, 3), 255, np.uint8)
    mask = paste(np.zeros_like(frame), white, transform, alpha)[..., 0] / 255
    return frame, mask, transform, alpha


def pasted(change, hard=False):
    """Ratio after ``change`` was done to the crop and it was pasted back."""
    outputs, sources, masks = [], [], []
    for index in FRAMES:
        frame, mask, transform, alpha = textured(index)
        crop = change(warp(frame, transform, 128))
        if hard:
            alpha = (alpha > 0.3).astype(np.float32)
        outputs.append(paste(frame, crop, transform, alpha))
        sources.append(frame)
        masks.append(mask)
    return seam(outputs, sources, masks)


def lighter(crop):
    return np.clip(crop.astype(int) + 40, 0, 255).astype(np.uint8)


def test_nothing_done_is_one():
    frames, masks = zip(*(textured(i)[:2] for i in FRAMES), strict=True)
    assert seam(frames, frames, masks) == Energy(1.0, 1.0)


def test_a_matched_soft_paste_is_about_one():
    assert pasted(lambda crop: crop).across == pytest.approx(1, abs=0.1)


def test_a_hard_edge_around_another_colour_shows():
    found = pasted(lighter, hard=True)
    assert found.across > 3
    assert found.along < 0.5 * found.across, "an edge has a direction"


def test_the_softer_the_less():
    soft, hard = pasted(lighter).across, pasted(lighter, hard=True).across
    assert 1.1 < soft < 0.6 * hard


def test_what_is_not_at_the_border_does_not_count():
    frame, mask, *_ = textured(0)
    theirs = edge_energy(frame, mask)
    away = cv2.dilate((mask > 0).astype(np.uint8), np.ones((5, 5))) == 0  # as far as Sobel looks
    for where, same in ((mask > 0.9, True), (away, True), (mask > 0.3, False)):
        changed = np.where(where[..., None], 255 - frame, frame)
        assert (edge_energy(changed, mask) == theirs) == same


def test_both_parts_are_the_gradient():
    """On a mask that rises to the right, a ramp to the right is all across, one down all along."""
    mask = np.tile(np.linspace(0, 1, 41), (20, 1))
    border = ((mask > 0.02) & (mask < 0.6)).sum()
    right = np.repeat(np.tile(np.arange(41, dtype=np.uint8) * 2, (20, 1))[..., None], 3, 2)
    down = np.repeat(np.tile(np.arange(20, dtype=np.uint8)[:, None] * 3, (1, 41))[..., None], 3, 2)
    found = edge_energy(right, mask)
    assert found.across == pytest.approx(border * 16.0**2, rel=1e-4)  # Sobel's sum is 8 a unit
    assert found.along == pytest.approx(0, abs=1e-3)
    # The first and last row are mirrored, so nothing rises across them.
    assert edge_energy(down, mask).along == pytest.approx(border * 0.9 * 24.0**2, rel=1e-4)


def test_empty_masks_and_flat_frames():
    flat, step = np.full((20, 41, 3), 90, np.uint8), np.full((20, 41, 3), 90, np.uint8)
    step[:, 12:] = 200
    mask = np.tile(np.linspace(0, 1, 41), (20, 1))
    assert edge_energy(step, 0 * mask) == Energy()
    assert seam([flat], [flat], [mask]).across == 1
    assert seam_ratio(edge_energy(step, mask), edge_energy(flat, mask)).across == np.inf
