"""Latents as training will find them: plain, on a grid, and of changed copies of the crop."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from core.clip import Clip
from core.latents import unpacked
from core.media.colour import changed
from core.sample import decode_field, encode_field
from core.weights import Store
from models.experts.codec import load_codec
from preprocessing.steps.latents import Latents


@pytest.fixture(scope="module")
def photos():
    data = pytest.importorskip("skimage.data")
    pictures = [data.astronaut(), data.chelsea(), data.coffee()]
    return np.stack(
        [cv2.resize(p[:300, 60:360], (128, 128), interpolation=cv2.INTER_AREA) for p in pictures]
    )


def _clip(photos, name="a"):
    mask = np.zeros(photos.shape[:3], bool)
    mask[:, 64:110, 20:90] = True
    return Clip(name, "a.mp4", fields={"crop": photos, "mask": mask}, facts={"sha256": name})


def _run(clip, **settings):
    step = Latents("slim", Store(()), **settings)
    step.setup()
    (found,) = step([clip])
    return step, found


def _psnr(a, b):
    return 10 * np.log10(4 / np.mean((a - b) ** 2))


def test_uint8_costs_little_and_float16_nothing(photos):
    """Decoded photos against the codec's own round trip in float32 (docs/LOG.md)."""
    codec = load_codec("slim", Store(()))
    x = torch.from_numpy(photos).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        best = codec(x).clamp(-1, 1).numpy()
    loss = {}
    for storage in ("float16", "uint8"):
        step, clip = _run(_clip(photos), storage=storage)
        z = clip.fields["latent_source"]
        assert str(z.dtype) == storage
        assert step.origin().get("latents", "float16") == storage
        stored = unpacked(decode_field("latent_source", encode_field("latent_source", z)))
        with torch.inference_mode():
            y = codec.decode(torch.from_numpy(stored.astype(np.float32))).clamp(-1, 1).numpy()
        loss[storage] = _psnr(best, x.numpy()) - _psnr(y, x.numpy())
    assert abs(loss["float16"]) < 0.002
    assert abs(loss["uint8"]) < 0.05


def test_plain_settings_add_nothing_and_change_no_byte(photos):
    step, plain = _run(_clip(photos))
    assert not any("variants" in name for name in plain.fields)
    assert set(step.origin()) == {"codec"}
    _, more = _run(_clip(photos), flip=True, jitter=1)
    for name in ("latent_source", "latent_masked"):
        assert np.array_equal(plain.fields[name], more.fields[name])


def test_a_variant_is_what_the_codec_says_of_the_changed_crop(photos):
    step, clip = _run(_clip(photos), flip=True, jitter=2)
    rows = clip.fields["variants"]
    assert rows.shape == (3, 3, 5)
    assert (rows == rows[:1]).all(), "constant over the clip"
    assert step.origin()["variants"] == "flip=1 jitter=2 (0.4,0.4,3.2,0.4)"
    for v, row in enumerate(rows[0]):
        flipped = slice(None, None, -1 if row[0] else 1)
        copy = clip.having(
            crop=np.ascontiguousarray(changed(photos, row)),
            mask=clip.fields["mask"][..., flipped],
        )
        _, again = _run(copy)
        for name in ("latent_source", "latent_masked"):
            assert np.array_equal(clip.fields[f"{name}_variants"][:, v], again.fields[name])
    assert not np.array_equal(
        rows, _run(_clip(photos, "b"), flip=True, jitter=2)[1].fields["variants"]
    )
