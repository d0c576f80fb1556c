"""Augmentation by cached variants: one variant a sample, and every field follows it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.contracts import BatchRequest, FramePair
from core.media.colour import changed, variants
from core.shards import Manifest, write_manifest, write_shard
from models.experts.expression import expression, mirrored
from tests.toy import person
from training import reading

FIELDS = ("crop", "mask", "lips_mask", "expression", "latent_source", "latent_masked")
PAIR = BatchRequest(FramePair(), FIELDS)
ROWS = variants("anna", True, 2)


def _sample(with_variants=True):
    """Latents here are 16x16 thumbnails in (T, 3, 16, 16), so that eyes can compare them."""
    sample = person("anna", 0)
    rng = np.random.default_rng(0)
    count = len(sample["crop"])
    grain = rng.integers(0, 25, (count, 16, 16, 3)).repeat(8, 1).repeat(8, 2)  # JPEG's own blocks
    sample["crop"] = np.clip(sample["crop"] + grain, 0, 255).astype(np.uint8)
    sample["mask"][:, :, :64] = False  # lopsided, so that a mirror shows
    sample["latent_source"], sample["latent_masked"] = _thumbnails(sample["crop"], sample["mask"])
    if with_variants:
        both = [
            _thumbnails(changed(sample["crop"], row), sample["mask"][..., :: -1 if row[0] else 1])
            for row in ROWS
        ]
        sample["latent_source_variants"] = np.stack([s for s, _ in both], 1)
        sample["latent_masked_variants"] = np.stack([m for _, m in both], 1)
        sample["variants"] = np.repeat(ROWS[None], len(sample["crop"]), 0)
    return sample


def _thumbnails(crop, mask):
    small = crop[:, 4::8, 4::8].astype(np.float32) / 127.5 - 1
    hidden = np.where(mask[:, 4::8, 4::8, None], 0, small)
    return small.transpose(0, 3, 1, 2).astype(np.float16), hidden.transpose(0, 3, 1, 2).astype(
        np.float16
    )


def _load(folder, sample, needs=FIELDS, **more):
    folder.mkdir()
    write_manifest(folder, Manifest({}, [write_shard(folder / "shard-00000.tar", [sample])], {}))
    return reading.load(folder, needs, **more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return _load(tmp_path_factory.mktemp("v") / "s", _sample())


def away(latents, thumbnails):
    """The worst sample's mean difference; crops went through JPEG, latents did not."""
    return np.abs(latents.numpy() - thumbnails).mean((1, 2, 3)).max()


def test_all_fields_of_a_sample_are_of_one_variant(data):
    batch = data.batch(PAIR, 200, seed=0, step=0)
    for suffix in ("", "_reference", "_other"):
        crop, mask = batch[f"crop{suffix}"].numpy(), batch[f"mask{suffix}"].numpy()
        source, masked = _thumbnails(crop, mask)
        assert away(batch[f"latent_source{suffix}"], source) < 0.05
        assert away(batch[f"latent_masked{suffix}"], masked) < 0.05
        assert away(batch[f"latent_source{suffix}"].roll(1, 0), source) > 0.1
    mirrored_rows = ~batch["mask"][:, :, 64:].flatten(1).any(1)
    assert torch.equal(mirrored_rows, ~batch["mask_other"][:, :, 64:].flatten(1).any(1))
    assert 0.35 < mirrored_rows.float().mean() < 0.65, "the mirror and every second jitter of 4"


def test_held_out_samples_are_the_clip_itself(data):
    (batch,) = data.held_out("held_out", PAIR, samples=16, size=16)
    true = person("anna", 0)
    assert not batch["mask"][:, :, :64].any()
    assert torch.from_numpy(true["expression"]).unique(dim=0).shape[0] > 1
    known = {row.tobytes() for row in true["expression"]}
    assert all(row.numpy().tobytes() in known for row in batch["expression"])


def test_without_variants_batches_are_what_they_were(tmp_path):
    data = _load(tmp_path / "s", _sample(with_variants=False))
    batch = data.batch(PAIR, 32, seed=0, step=0)
    assert not batch["mask"][:, :, :64].any()


def test_fields_without_a_mirror_image_keep_to_the_others(tmp_path):
    """Landmarks follow a change of colour, not of sides; an unknown field follows nothing."""
    sample = _sample()
    fields = ("mask", "landmarks", "latent_source")
    data = _load(tmp_path / "s", sample, fields)
    batch = data.batch(BatchRequest(FramePair(), fields), 64, seed=0, step=0)
    assert not batch["mask"][:, :, :64].any()
    plain = torch.from_numpy(sample["latent_source"]).float().unique(dim=0)
    seen = batch["latent_source"].unique(dim=0)
    assert len(torch.cat([plain, seen]).unique(dim=0)) > len(plain), "some were in other colours"
    fields = ("latent_source", "lips")

    def derive(sample):
        return {"lips": np.ones((len(sample["latent_source"]), 2))}

    data = _load(tmp_path / "t", sample, fields[:1], derive=derive)
    batch = data.batch(BatchRequest(FramePair(), fields), 64, seed=0, step=0)
    seen = batch["latent_source"].unique(dim=0)
    assert len(torch.cat([plain, seen]).unique(dim=0)) == len(plain)


def test_latents_on_the_grid_are_trained_on_as_floats(tmp_path):
    from core.latents import packed

    sample = _sample()
    stored = {n: packed(v.astype(np.float32), "uint8") for n, v in sample.items() if "latent" in n}
    data = _load(tmp_path / "s", {**sample, **stored})
    batch = data.batch(PAIR, 40, seed=1, step=0)
    source, _ = _thumbnails(batch["crop"].numpy(), batch["mask"].numpy())
    assert batch["latent_source"].dtype == torch.float32
    assert away(batch["latent_source"], source) < 0.05
    assert np.allclose(batch["latent_source"] * 21, np.rint(batch["latent_source"] * 21), atol=1e-3)


def test_a_segments_own_value_stands_on_each_of_its_frames(tmp_path):
    sample = {**_sample(), "emotion": np.arange(7, dtype=np.float32) / 21}
    data = _load(tmp_path / "s", sample, ("opening", "emotion"))
    batch = data.batch(BatchRequest(FramePair(), ("opening", "emotion")), 3, seed=0, step=0)
    assert torch.equal(batch["emotion"], torch.from_numpy(sample["emotion"]).expand(3, 7))


def test_mirrored_expression_is_that_of_the_mirrored_face():
    """On a mesh given by hand: its points change sides with their mirror images."""
    from core.media.shapes import FACE
    from models.experts.expression import NEUTRAL

    rng = np.random.default_rng(0)
    mesh = rng.normal(0, 0.03, (5, 468, 3))
    pairs = {}
    for index, mirror, *place in (*FACE, *NEUTRAL):
        pairs[index], pairs[mirror] = mirror, index
        mesh[:, index] += place
        if mirror != index:
            mesh[:, mirror] += np.array(place) * [-1, 1, 1]
    mesh = mesh * 100 + 200
    other = mesh.copy()
    for index, mirror in pairs.items():
        other[:, mirror] = mesh[:, index] * [-1, 1, 1] + [400, 0, 0]
    np.testing.assert_allclose(expression(other), mirrored(expression(mesh)), atol=1e-3)
    assert not np.allclose(expression(other), expression(mesh), atol=0.1)
    assert np.array_equal(mirrored(mirrored(expression(mesh))), expression(mesh))
