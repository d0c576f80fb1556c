"""A frozen expression encoder from a file: TorchScript and ONNX, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.clip import Clip
from core.errors import InputError
from core.weights import Store
from models.experts.expression_net import ExpressionNet
from preprocessing.recipes import flashlips, flashlips_steps
from preprocessing.steps.expression import Expression

CROPS = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)


class Means(torch.nn.Module):
    """Four numbers a picture: the mean of each quarter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 2).flatten(1)


@pytest.fixture
def script(tmp_path):
    torch.jit.script(Means()).save(str(tmp_path / "means.pt"))
    return tmp_path


def test_a_torchscript_file_gives_features_of_each_crop(script):
    net = ExpressionNet("means.pt#32", Store((script,)))
    found = net.features(CROPS)
    assert found.shape == (3, 4)
    wanted = CROPS.mean((1, 2, 3)) / 127.5 - 1
    assert np.allclose(found.mean(1), wanted, atol=1e-3)
    assert net.name.startswith("means.pt@")
    assert net.name.endswith("#32")


def test_the_step_takes_it_in_the_geometrys_place(script):
    step = Expression(str(script / "means.pt"), Store(()))
    step.setup()
    points = np.random.default_rng(1).random((3, 468, 3)).astype(np.float32) * 64
    (clip,) = step([Clip("a", "a.mp4").having(crop=CROPS, landmarks=points)])
    assert clip.fields["expression"].shape == (3, 4)
    assert clip.fields["opening"].shape == (3,)
    assert step.origin()["expression"].startswith("means.pt@")
    assert Expression().origin() == {}


def test_what_is_refused_is_one_sentence(script, tmp_path):
    with pytest.raises(InputError, match="give a file, or expression=landmarks"):
        ExpressionNet("nothing.pt", Store(()))
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(InputError, match="neither ONNX nor TorchScript"):
        ExpressionNet(str(tmp_path / "noise.onnx"), Store(())).features(CROPS)
    with pytest.raises(InputError, match="FILE#SIDE"):
        ExpressionNet("means.pt#big", Store((script,)))
    recipe = replace(flashlips(), expression="means.pt", flip=True)
    with pytest.raises(InputError, match="set flip=False"):
        flashlips_steps(recipe, Store((script,)))
