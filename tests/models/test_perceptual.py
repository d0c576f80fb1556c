"""Perceptual losses on small stand-ins: gradients, scale, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.shards import read_manifest
from core.weights import Store
from models.flashlips.reconstruction import Reconstruction
from models.losses import perceptual as losses
from models.losses.perceptual import VGG19, VGGFace2, load_backbone, perceptual
from training.recipes.flashlips import NANO_NET

SMALL = {"vgg": partial(VGG19, 4), "vgg_face": partial(VGGFace2, 4, (1, 1, 1, 1))}


@pytest.fixture(params=SMALL)
def backbone(request):
    torch.manual_seed(0)
    return SMALL[request.param]().eval().requires_grad_(False)


def test_published_sizes():
    with torch.device("meta"):
        vgg, face = VGG19(), VGGFace2()
        assert sum(p.numel() for p in face.parameters()) == 23_508_032  # ResNet-50 without its head
        assert sum(p.numel() for p in vgg.parameters()) == 12_944_960  # VGG-19 to conv5_1
        assert vgg.state_dict().keys() >= {"features.0.weight", "features.28.bias"}
        shapes = [tuple(h.shape[1:]) for h in vgg(torch.empty(1, 3, 64, 64))]
        assert shapes == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
        shapes = [tuple(h.shape[1:]) for h in face(torch.empty(1, 3, 99, 99))]
        assert shapes[1:] == [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_gradients_reach_the_pixels_and_nothing_else(backbone):
    x, target = torch.rand(2, 2, 3, 48, 48) * 2 - 1
    x.requires_grad_()
    assert perceptual(backbone, target, target) == 0
    perceptual(backbone, x, target).backward()
    assert x.grad.isfinite().all()
    assert (x.grad.abs().sum((0, 1)) > 0).float().mean() > 0.9
    assert all(p.grad is None for p in backbone.parameters())


def test_it_falls_when_a_picture_nears_its_target(backbone):
    target = torch.rand(1, 3, 48, 48) * 2 - 1
    x = (target + 0.3 * torch.randn_like(target)).requires_grad_()
    optimiser, first = torch.optim.Adam([x], 0.02), None
    for _ in range(30):
        loss = perceptual(backbone, x, target)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.6 * first


def test_it_is_a_mean_over_samples(backbone):
    x, target = torch.rand(2, 2, 3, 48, 48) * 2 - 1
    both = perceptual(backbone, x, target)
    alone = [perceptual(backbone, x[i : i + 1], target[i : i + 1]) for i in range(2)]
    assert both == pytest.approx(float(sum(alone)) / 2, rel=1e-4)


def test_weights_are_loaded_by_the_published_names(tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "BACKBONES", {"vgg": ("vgg19", SMALL["vgg"])})
    with pytest.raises(InputError, match="vgg19"):
        load_backbone("vgg", Store((tmp_path,)))
    with pytest.raises(InputError, match="there are vgg"):
        load_backbone("lpips", Store((tmp_path,)))
    torch.manual_seed(1)
    published = SMALL["vgg"]().state_dict()
    classifier = {"classifier.6.weight": torch.zeros(3, 3)}
    save_file({**published, **classifier}, tmp_path / "vgg19.safetensors")
    loaded = load_backbone("vgg", Store((tmp_path,)))
    assert torch.equal(loaded.features[28].weight, published["features.28.weight"])
    assert not any(p.requires_grad for p in loaded.parameters())
    save_file({k: published[k] for k in list(published)[:4]}, tmp_path / "vgg19.safetensors")
    with pytest.raises(InputError, match="no vgg19"):
        load_backbone("vgg", Store((tmp_path,)))


def test_an_objective_with_a_perceptual_term(tmp_path, monkeypatch, shards):
    monkeypatch.setattr(losses, "BACKBONES", {"vgg": ("vgg19", SMALL["vgg"])})
    save_file(SMALL["vgg"]().state_dict(), tmp_path / "vgg19.safetensors")
    origin, net = read_manifest(shards).origin, {**NANO_NET, "perceptual": ["vgg"]}
    objective = Reconstruction(net, {}, origin, Store((tmp_path,)))
    assert objective.terms == Reconstruction(NANO_NET, {}, origin, Store(())).terms | {"vgg"}
    assert set(objective.frozen()) == {"codec", "vgg"}
    with pytest.raises(InputError, match="vgg19"):
        Reconstruction(net, {}, origin, Store(()))
    z = torch.randn(4, 32, 16, 16)
    batch = {name: torch.ones(4, 128, 128, dtype=torch.bool) for name in ("mask", "lips_mask")}
    wanted = torch.zeros(4, 128, 128, 3, dtype=torch.uint8)
    found = objective.compare(z.requires_grad_(), z.detach() + 1, batch, wanted)
    found["vgg"].backward()
    assert z.grad[:1].abs().sum() > 0, "through the decoder into the latent"
    assert z.grad[1:].abs().sum() == 0, "a quarter of the batch is decoded"
