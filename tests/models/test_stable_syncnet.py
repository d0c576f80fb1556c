from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from models.experts import stable_syncnet
from models.experts.convert import convert
from models.experts.stable_syncnet import StableSyncNet, load_stable_syncnet
from tests.models import crc_weights
from tests.models.crc_weights import apart, normal, sketch, uniform


@pytest.fixture
def narrow(monkeypatch):
    """The net with few channels, filled; everything else is as published."""
    for name in ("SOUND", "PICTURE"):
        levels = tuple((32 * (1 + (w > 500)), *rest) for w, *rest in getattr(stable_syncnet, name))
        monkeypatch.setattr(stable_syncnet, name, levels)
    return crc_weights.filled(StableSyncNet())


def test_a_narrow_net_computes_what_it_did_when_the_wide_one_was_right(narrow):
    """The wide one is held to published outputs by test_parity, which takes a minute."""
    frames = torch.from_numpy(2 * uniform("stable_syncnet.frames", (1, 48, 128, 256)) - 1)
    mel = torch.from_numpy(normal("stable_syncnet.mel", (1, 1, 80, 52)))
    with torch.inference_mode():
        seen, heard = narrow(frames, mel)
    assert apart(sketch(seen), [1.0, 0.07854068, -0.8661934, -0.671079]) < 1e-5
    assert apart(sketch(heard), [1.0, -0.4878593, -0.6239738, -1.094583]) < 1e-5


def test_a_training_checkpoint_loads_after_conversion(narrow, tmp_path):
    """As LatentSync saves it: the net under ``state_dict``, its books beside."""
    content = {"global_step": 7, "state_dict": narrow.state_dict(), "train_loss_list": [0.5]}
    torch.save(content, tmp_path / "stable_syncnet.pt")
    convert(tmp_path / "stable_syncnet.pt", tmp_path / "s.safetensors")
    found = load_stable_syncnet(tmp_path / "s.safetensors").state_dict()
    assert all(torch.equal(value, narrow.state_dict()[key]) for key, value in found.items())
    save_file({"state_dict.a": torch.zeros(1)}, tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="no StableSyncNet"):
        load_stable_syncnet(tmp_path / "s.safetensors")
