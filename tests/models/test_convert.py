"""Foreign checkpoints: tensors pass, everything else is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from core.errors import InputError
from models.experts.convert import convert


class _Evil:
    def __reduce__(self):
        return (print, ("code was run",))


def test_nested_state_dicts_become_flat_tensors(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    content = {"epoch": 3, "net": {"a": shared.T, "b": shared}, "more": [torch.zeros(1)]}
    torch.save(content, tmp_path / "x.pth")
    shapes = convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert shapes == {"net.a": (3, 2), "net.b": (2, 3), "more.0": (1,)}
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["net.a"], shared.T)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata()["source"] == "x.pth"


def test_what_is_not_tensors_is_refused_and_never_run(tmp_path, capsys):
    torch.save({"a": _Evil()}, tmp_path / "evil.pt")
    torch.save({"a": 1}, tmp_path / "empty.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "taef2_encoder.pth").write_bytes(b"other")
    for name, words in {
        "evil.pt": "tensors only",
        "empty.pt": "no tensor",
        "text.pt": "tensors only",
        "taef2_encoder.pth": "another hash",
        "absent.pt": "no file",
    }.items():
        with pytest.raises(InputError, match=words):
            convert(tmp_path / name, tmp_path / "out.safetensors")
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        convert(tmp_path / "empty.pt", tmp_path / "out.pt")
    assert not (tmp_path / "out.safetensors").exists()
    assert "code was run" not in capsys.readouterr().out
