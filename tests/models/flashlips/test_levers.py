"""Cost levers of stage 1: each leaves out what it says, and the numbers of nobody else change."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import InputError
from core.media import colour
from core.weights import Store
from models.experts import expression
from models.experts.codec import Codec, load_codec
from models.flashlips import reconstruction
from models.flashlips.edit_losses import PIXEL_TERMS, EditLosses, Levers
from models.flashlips.online import Online, changed, mirrored, online
from models.flashlips.parts import images
from models.flashlips.reconstruction import Reconstruction
from preprocessing.steps.latents import Latents
from training.recipes.flashlips import LEVERS, NANO_NET, PAPER_NET

PLAIN = torch.tensor([colour.PLAIN])


class Tiny(torch.nn.Module):
    """A decoder that costs nothing: nearest neighbours of three channels."""

    def __init__(self, stride=8):
        super().__init__()
        self.stride, self.calls = stride, 0

    def encode(self, x):
        return torch.nn.functional.avg_pool2d(x, self.stride).repeat(1, 11, 1, 1)[:, :32]

    def decode(self, z):
        self.calls += 1
        return z[:, :3].repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)


@pytest.fixture(scope="module")
def slim():
    return load_codec("slim", Store(()))


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(4, 128, 128, dtype=torch.bool)
    mask[:, 60:110, 20:90] = True  # lopsided: a mirror shows
    lips = torch.zeros_like(mask)
    lips[:, 70:90, 40:70] = True
    made = {"speaker": torch.arange(4)}
    for frame in ("", "_reference", "_other"):
        coarse = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8, generator=rng)
        made[f"crop{frame}"] = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2)
        made[f"mask{frame}"], made[f"lips_mask{frame}"] = mask.clone(), lips.clone()
        made[f"expression{frame}"] = torch.randn(4, expression.EXPRESSION_DIM, generator=rng)
        for field in ("latent_source", "latent_masked"):
            made[field + frame] = torch.randn(4, 32, 16, 16, generator=rng)
    return made


def compared(losses, batch):
    z = batch["latent_source"].clone().requires_grad_()
    found = losses(z, batch["latent_masked"], batch, batch["crop"])
    sum(found[name] for name in PIXEL_TERMS).backward()
    return found, z.grad.abs().sum((1, 2, 3))


def test_levers_that_are_not_pulled_are_the_paper(batch, slim):
    assert Levers.of({}) == Levers.of(LEVERS) == Levers.of(PAPER_NET) == Levers()
    assert online(slim, PAPER_NET) is None
    for net in ({}, LEVERS):
        found = reconstruction.edit_losses(slim, {**net, "tau_lips": 0.0}, Store(()))
        assert found.decoder is slim
        assert set(found.frozen) == {"codec"}
        found.progress = 1.0
        assert found.pixels_of(4) == 4


def test_a_stand_in_decodes_and_gradients_flow_through_it(batch, slim):
    tiny = Codec("tiny", Tiny(), 32, 8)
    losses = EditLosses(slim, 0.0, Levers(until=0.8), stand_in=tiny)
    assert set(losses.frozen) == {"codec", "pixel_decoder"}
    found, gradient = compared(losses, batch)
    assert tiny.body.calls == 1
    assert (gradient > 0).all()
    losses.progress = 0.8
    real, _ = compared(losses, batch)
    assert tiny.body.calls == 1, "the latents' own decoder is back"
    assert found["lat_l1"] == real["lat_l1"]
    assert found["pix_l1_mask"] != real["pix_l1_mask"]


def test_a_decoder_of_other_latents_is_refused(slim, monkeypatch):
    made = {"wide": Codec("wide", Tiny(), 16, 8), "coarse": Codec("coarse", Tiny(16), 32, 16)}
    monkeypatch.setattr(reconstruction, "load_codec", lambda name, store: made[name])
    for name, said in (("wide", "16 channels"), ("coarse", "stride 16")):
        with pytest.raises(InputError, match=f"pixel_decoder.*{said}"):
            reconstruction.edit_losses(slim, {"pixel_decoder": name}, Store(()))


def test_a_folder_of_diffusers_is_a_stand_in(tmp_path, batch, slim):
    diffusers = pytest.importorskip("diffusers")
    sizes = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    net = diffusers.AutoencoderTiny(latent_channels=32, **sizes)
    net.save_pretrained(str(tmp_path / "net"))
    asked = {"pixel_decoder": f"diffusers:{tmp_path / 'net'}", "pixel_window": [4, 12, 4, 12]}
    losses = reconstruction.edit_losses(slim, asked, Store(()))
    assert losses.decoder.id.startswith("diffusers:net@")
    _, gradient = compared(losses, batch)
    assert (gradient > 0).all()
    assert not any(p.requires_grad for p in losses.decoder.parameters())


def test_pixels_wait_for_their_time(batch, slim):
    losses = EditLosses(slim, 0.0, Levers(start=0.4))
    found, gradient = compared(losses, batch)
    assert found.keys() == losses.terms
    assert all(found[name] == 0 for name in PIXEL_TERMS)
    assert found["lat_l1"] > 0
    assert gradient.sum() == 0
    losses.progress = 0.4
    found, gradient = compared(losses, batch)
    assert all(found[name] > 0 for name in PIXEL_TERMS)
    assert (gradient > 0).all()


@pytest.mark.parametrize("field", ["pixel_fraction", "pixel_from", "pixel_decoder_until"])
def test_shares_are_shares(field):
    with pytest.raises(InputError, match=f"{field} is 1.5"):
        Levers.of({field: 1.5})


def test_colours_are_those_of_cached_variants(batch):
    rows = torch.from_numpy(colour.variants("anna", True, 3))
    ours = changed(batch["crop"], rows).numpy()
    for i, row in enumerate(rows.numpy()):
        theirs = colour.changed(batch["crop"][i].numpy(), row)
        off = np.abs(ours[i].astype(int) - theirs)
        assert off.max() <= 1, row
        assert (off > 0).mean() < 0.01
    assert torch.equal(changed(batch["crop"], PLAIN.expand(4, 5)), batch["crop"])


def test_features_in_the_mirror(batch):
    x = batch["expression"]
    assert np.array_equal(mirrored(x).numpy(), expression.mirrored(x.numpy()))


def test_nothing_augmented_is_what_was_cached(batch, slim):
    step = Latents("slim", Store(()))
    step.setup()
    for frame in ("", "_reference"):
        crop, mask = (batch[name + frame].numpy() for name in ("crop", "mask"))
        pair = [torch.from_numpy(z).float() for z in step._pair(crop, mask)]
        batch[f"latent_source{frame}"], batch[f"latent_masked{frame}"] = pair
    found = Online(slim, 0.0, 0.0)(batch, torch.Generator())
    for name in batch.keys() & found.keys():
        if name.startswith("latent_"):
            assert torch.allclose(found[name], batch[name], atol=5e-3), "but for float16"
        else:
            assert torch.equal(found[name], batch[name]), name
    encoded = {"latent_source", "latent_masked", "latent_source_reference"}
    assert {n for n in found if n.startswith("latent_")} == encoded, "none of other colours"


def test_a_flip_flips_everything(batch, slim):
    flipped = Online(slim, 1.0, 0.0)(batch, torch.Generator())
    for frame in ("", "_reference", "_other"):
        for name in ("crop", "mask", "lips_mask"):
            assert torch.equal(flipped[name + frame], batch[name + frame].flip(2))
        theirs = expression.mirrored(batch["expression" + frame].numpy())
        assert np.array_equal(flipped["expression" + frame].numpy(), theirs)
    with torch.no_grad():
        hidden = images(batch["crop"]).masked_fill(batch["mask"][:, None], 0.0).flip(3)
        assert torch.equal(flipped["latent_masked"], slim.encode(hidden))
        reference = images(batch["crop_reference"].flip(2))
        assert torch.equal(flipped["latent_source_reference"], slim.encode(reference))


def test_chance_is_the_generators_and_as_asked(slim):
    draw = Online(slim).draw
    rows = draw(4000, torch.Generator().manual_seed(1))
    assert torch.equal(rows, draw(4000, torch.Generator().manual_seed(1)))
    assert not torch.equal(rows, draw(4000, torch.Generator().manual_seed(2)))
    assert rows[:, 0].mean() == pytest.approx(0.5, abs=0.03)
    coloured = (rows[:, 1:] != PLAIN[:, 1:]).any(1)
    assert coloured.float().mean() == pytest.approx(0.9, abs=0.02)
    low, high = rows[coloured, 1:].amin(0), rows[coloured, 1:].amax(0)
    assert low.tolist() == pytest.approx([0.6, 0.6, 0.0, -0.4], abs=0.02)
    assert high.tolist() == pytest.approx([1.4, 1.4, 4.2, 0.4], abs=0.02)


def test_colours_are_shared_within_a_sample_and_differ_between(batch, slim):
    for frame in ("", "_reference", "_other"):
        batch["crop" + frame] = torch.full_like(batch["crop"], 90)
        batch["crop" + frame][..., 0] = 160
    found = Online(slim, 0.0, 1.0)(batch, torch.Generator().manual_seed(0))
    assert torch.equal(found["crop"], found["crop_reference"])
    assert torch.equal(found["crop"], found["crop_other"])
    assert len(found["crop"][:, 0, 0].unique(dim=0)) == 4


def test_what_online_encoding_refuses(slim):
    with pytest.raises(InputError, match="encode_online is"):
        online(slim, {**NANO_NET, "encode_online": {"hue": 1}})
    with pytest.raises(InputError, match="set its flip to 0"):
        online(slim, {**NANO_NET, "expression": 7, "encode_online": True})
    assert online(slim, {"expression": 7, "encode_online": {"flip": 0.0}}) is not None


def test_an_objective_with_every_lever(batch, origin):
    levers = {
        "encode_online": True, "pixel_from": 0.4, "pixel_decoder": "slim",
        "pixel_decoder_until": 0.8, "latent_jitter": 0.0,
    }  # fmt: skip
    objective = Reconstruction({**NANO_NET, **levers}, {}, origin, Store(()))
    objective.at(0.1)
    found = objective.losses(batch, torch.Generator().manual_seed(0))
    assert found["pix_l1_mask"] == 0
    objective.at(0.5)
    again = objective.losses(batch, torch.Generator().manual_seed(0))
    assert again["pix_l1_mask"] > 0
    assert found["lat_l1"] == again["lat_l1"]
    sum(again.values()).backward()
    assert any(p.grad is not None for p in objective.parts["editor"].parameters())
    assert all(p.grad is None for p in objective.codec.parameters())
