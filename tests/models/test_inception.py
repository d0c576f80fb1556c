from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from evaluation.frechet import frechet
from models.experts import inception
from models.experts.inception import FidFeatures, Inception, stretched
from tests.models import crc_weights


def test_pictures_are_stretched_from_the_corner_and_held_at_the_end():
    ramp = torch.tensor([0.0, 10.0, 40.0])
    found = stretched(ramp.expand(1, 1, 2, 3), 6)[0, 0]
    assert found[0].tolist() == [0, 5, 10, 25, 40, 40]
    assert torch.equal(found, found[:1].expand(6, 6))
    found = stretched(torch.arange(8.0).expand(1, 1, 1, 8), 4)[0, 0, 0]
    assert found.tolist() == [0, 2, 4, 6]  # nothing is averaged
    picture = torch.rand(1, 3, 5, 5)
    assert torch.equal(stretched(picture, 5), picture)


@pytest.fixture
def features(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "SIDE", 75)  # the least it takes, and quick
    net = crc_weights.filled(Inception(), gain=2**0.5)
    save_file(net.state_dict(), tmp_path / "inception.safetensors")
    return FidFeatures(tmp_path / "inception.safetensors", "64")


def test_one_feature_of_pictures_of_any_size(features, tmp_path):
    pictures = torch.randint(0, 255, (3, 3, 40, 60), dtype=torch.uint8)
    found = features(pictures)
    assert found.shape == (3, features.num_features)
    assert torch.equal(found, features.net(pictures)["64"])
    save_file({"fc.bias": torch.zeros(1)}, tmp_path / "inception.safetensors")
    with pytest.raises(InputError, match="no InceptionV3 of FID"):
        FidFeatures(tmp_path / "inception.safetensors")


@pytest.mark.slow  # its import alone takes ten seconds
def test_torchmetrics_takes_the_features(features):
    fid = pytest.importorskip("torchmetrics.image.fid")
    metric = fid.FrechetInceptionDistance(feature=features)
    pictures = torch.randint(0, 255, (100, 3, 40, 60), dtype=torch.uint8)
    pictures[50:] //= 2
    metric.update(pictures[:50], real=True)
    metric.update(pictures[50:], real=False)
    vectors = features(pictures).double().numpy()
    ours = frechet(vectors[:50], vectors[50:])
    assert float(metric.compute()) == pytest.approx(ours.value, rel=1e-3)
