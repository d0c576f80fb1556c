"""Nets run by other libraries than torch answer as torch does, or are not used."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from core.errors import InputError
from models import backends
from models.backends import Unusable, check, opened
from models.backends.compiled import BATCH, Compiled
from models.backends.eager import Eager


class Small(nn.Module):
    """Two pictures and a vector, as an editor takes them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(6, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.told = nn.Linear(5, 8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x, reference, vector):
        h = torch.cat([x, reference.expand(x.shape[0], -1, -1, -1)], 1)
        h = self.norm(self.first(h)) + self.told(vector)[:, :, None, None]
        return self.last(torch.relu(h))


@pytest.fixture
def net():
    return Small().eval()


def given(count):
    rng = torch.Generator().manual_seed(count)
    shapes = ((count, 3, 16, 16), (1, 3, 16, 16), (count, 5))
    return [torch.randn(shape, generator=rng) for shape in shapes]


def test_ncnn_answers_as_torch_does(net, tmp_path, monkeypatch):
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    found = opened(net, given(1), tmp_path, 2, "ncnn")
    for count in (1, 5):
        x = given(count)
        before = [t.clone() for t in x]
        with torch.inference_mode():
            wanted = net(*x)
        assert torch.allclose(found(*x), wanted, atol=1e-5)
        assert torch.equal(found(*x), found(*x))
        assert all(torch.equal(a, b) for a, b in zip(x, before, strict=True))

    def refuse(*args):
        raise AssertionError("converted twice")

    monkeypatch.setattr("models.backends.ncnn._pnnx", refuse)
    again = opened(net, given(1), tmp_path, 1, "ncnn")
    assert torch.equal(again(*given(3)), found(*given(3)))
    with torch.no_grad():
        net.last.bias += 1
    with pytest.raises(AssertionError, match="converted twice"):
        opened(net, given(1), tmp_path, 1, "ncnn")


def test_ncnn_works_where_nothing_can_be_kept(net, tmp_path):
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    (tmp_path / "file").write_text("no folder")
    found = opened(net, given(1), tmp_path / "file" / "in", 1, "ncnn")
    with torch.inference_mode():
        assert torch.allclose(found(*given(2)), net(*given(2)), atol=1e-5)


def test_a_wrong_answer_is_no_answer(net, tmp_path, monkeypatch, caplog):
    class Wrong(Eager):
        def __call__(self, *tensors):
            return super().__call__(*tensors) * self.factor

    Wrong.factor = 1.01
    monkeypatch.setattr(backends, "BACKENDS", {"odd": "odd:open_odd", **backends.BACKENDS})
    odd = type(backends)("odd")
    odd.open_odd = lambda net, example, folder, threads: Wrong(net)
    monkeypatch.setitem(__import__("sys").modules, "odd", odd)
    with caplog.at_level(logging.INFO):
        found = opened(net, given(1), tmp_path, 1)
    assert not isinstance(found, Wrong)
    assert "differs from torch's by 0.01" in caplog.text
    with pytest.raises(InputError, match=r"backend odd can't be used here: its answer differs"):
        opened(net, given(1), tmp_path, 1, "odd")
    Wrong.factor = float("nan")
    with pytest.raises(Unusable):
        check(Wrong(net), net, given(1))
    Wrong.factor = 1.0
    assert isinstance(opened(net, given(1), tmp_path, 1), Wrong)


def test_unknown_and_absent_backends_are_sentences(net, tmp_path):
    with pytest.raises(InputError, match="no backend 'fast'; there are auto, cuda, ncnn, torch"):
        opened(net, given(1), tmp_path, 1, "fast")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="torch sees no CUDA device"):
            opened(net, given(1), tmp_path, 1, "cuda")


@pytest.mark.parametrize("count", [1, 3, BATCH, BATCH + 1])
def test_batches_are_filled_up_and_cut_again(net, count):
    """As on a GPU, where each size of a batch is compiled and recorded anew."""
    with torch.inference_mode():
        wanted = net(*given(count))
    for dtype, close in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        found = Compiled(net, "cpu", dtype, mode=None)
        assert found.exact == (dtype == torch.float32)
        assert found(*given(count)).shape == wanted.shape
        assert (found(*given(count)) - wanted).abs().max() < close * wanted.abs().max()


def test_long_videos_go_through_torch_in_parts(net):
    with torch.inference_mode():
        assert torch.allclose(Eager(net)(*given(70)), net(*given(70)), atol=1e-6)
