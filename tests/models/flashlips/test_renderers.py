from __future__ import annotations

import numpy as np
import pytest

from core.weights import Store
from evaluation.clip_data import read_clips
from models.flashlips.renderers import FlashLipsRenderers, teacher


@pytest.fixture(scope="module")
def clip(shards):
    return next(iter(read_clips(shards)))


def test_every_way_to_draw_gives_the_held_out_frames(system, clip):
    draw = FlashLipsRenderers(system, Store(()))
    truth = clip["crop"][clip.held_out]
    for name, render in draw.by_name().items():
        drawn = render(clip)
        assert (drawn.shape, drawn.dtype) == (truth.shape, np.uint8), name
        assert (drawn != truth).any(), name
    assert set(draw.by_name()) == {"codec", "reconstruction", "lips_change", "audio"}
    assert {name for name in draw.parts(clip) if len(draw.parts(clip)[name]())} == {
        "encode", "edit", "decode",
    }  # fmt: skip
    assert draw.teacher_parts(clip) == {}


def test_the_teacher_stands_beside_the_slim_codec_where_its_weights_are(system, clip, store):
    if not store.has("taef2_encoder"):  # not ours to ship: a person brings them
        pytest.skip("the TAEF2 weights are in no weights folder")
    draw = FlashLipsRenderers(system, store)
    truth = clip["crop"][clip.held_out].astype(float)
    far = {
        name: float(np.abs(draw.by_name()[name](clip) - truth).mean())
        for name in ("codec", "codec_taef2")
    }
    assert far["codec_taef2"] < far["codec"], "the slim codec learns from it"
    z = draw.teacher_parts(clip)["encode, TAEF2"]()
    assert len(draw.teacher_parts(clip)["decode, TAEF2"]()) == len(z)
    assert teacher("taef2@0", store) is None, "not beside itself"
