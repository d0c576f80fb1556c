"""The nets of VBench's numbers: the same keys and shapes as published, and the same function.

DINO and CLIP are held to the nets of ``transformers``. RAFT and AMT-S (of vbench 0.1.5) and MUSIQ
(of pyiqa 0.1.16) were run once on the weights and inputs of ``crc_weights``: digests of their keys
and a few numbers of their outputs are here.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from models.experts import amt, clip_vision, correlation, dino, musiq, raft
from models.experts.convert import convert
from models.experts.published import load_published
from tests.models import crc_weights
from tests.models.crc_weights import apart, normal, sketch, uniform

TOLERANCE = 5e-5
"""Relative L2; our nets made 3e-6 at most."""
RAFT = [113.0642765517082, 58.34525470685426, 186.4324773774874, 55.079596550248986]
AMT = [64.454172399507, 63.86561947413331, 85.07635838407803, 73.23565844077206]
MUSIQ = [0.42843315043511876, -0.2290901731031778, 0.5221792153294604, 0.2091926321125115]
"""Sketches of what the published code gives."""


def shapes(make):
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in make().state_dict().items()}


def digest(make):
    lines = "\n".join(f"{key} {shape}" for key, shape in sorted(shapes(make).items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def drawn(name, shape, scale=1.0):
    return scale * torch.from_numpy(uniform(name, shape))


def output(net, *inputs):
    with torch.inference_mode():
        return net(*inputs).numpy()


# -- DINO --


def test_dinos_keys_are_those_of_its_published_file():
    """As ``vision_transformer.py`` of facebookresearch/dino makes them, without a head."""
    wide, inner = 768, 3072
    block = {
        "norm1.weight": (wide,), "norm1.bias": (wide,), "norm2.weight": (wide,),
        "norm2.bias": (wide,), "attn.qkv.weight": (3 * wide, wide), "attn.qkv.bias": (3 * wide,),
        "attn.proj.weight": (wide, wide), "attn.proj.bias": (wide,),
        "mlp.fc1.weight": (inner, wide), "mlp.fc1.bias": (inner,),
        "mlp.fc2.weight": (wide, inner), "mlp.fc2.bias": (wide,),
    }  # fmt: skip
    told = {f"blocks.{i}.{key}": shape for i in range(12) for key, shape in block.items()}
    told |= {
        "cls_token": (1, 1, wide), "pos_embed": (1, 197, wide), "norm.weight": (wide,),
        "norm.bias": (wide,), "patch_embed.proj.weight": (wide, 3, 16, 16),
        "patch_embed.proj.bias": (wide,),
    }  # fmt: skip
    assert shapes(dino.Dino) == told


@pytest.fixture
def small(monkeypatch):
    for name, value in {"WIDTH": 48, "HEADS": 4, "DEPTH": 2}.items():
        monkeypatch.setattr(dino, name, value)
    return crc_weights.filled(dino.Dino())


def test_dino_computes_what_transformers_does(small):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=192,
        layer_norm_eps=1e-6, hidden_act="gelu", qkv_bias=True,
    )  # fmt: skip
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    ours = small.state_dict()
    state = {
        "embeddings.cls_token": ours["cls_token"],
        "embeddings.position_embeddings": ours["pos_embed"],
    }
    names = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj",
    }
    for end in ("weight", "bias"):
        state[f"embeddings.patch_embeddings.projection.{end}"] = ours[f"patch_embed.proj.{end}"]
        state[f"layernorm.{end}"] = ours[f"norm.{end}"]
        for i in range(2):
            parts = ours[f"blocks.{i}.attn.qkv.{end}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                state[f"layers.{i}.attention.{letter}_proj.{end}"] = part
            for name in ("norm1", "norm2", "attn.proj", "mlp.fc1", "mlp.fc2"):
                value = ours[f"blocks.{i}.{name}.{end}"]
                state[f"layers.{i}.{names.get(name, name)}.{end}"] = value
    theirs.load_state_dict(state)
    pictures = torch.from_numpy(normal("dino.picture", (2, 3, 224, 224)))
    with torch.inference_mode():
        golden = theirs(pictures).last_hidden_state[:, 0].numpy()
    assert apart(output(small, pictures), golden) < TOLERANCE


def test_dinos_places_are_stretched_to_wide_pictures(small):
    row = uniform("row", (14,))
    small.pos_embed[0, 1:] = torch.from_numpy(row).view(1, 14, 1).expand(14, 14, 48).flatten(0, 1)
    places = small._places(224, 398)[0, :, 0].unflatten(0, (14, 24))
    # Place i is read at (i + half) / scale - half, by a cubic of -0.75, the rim going on.
    at = (np.arange(24) + 0.5) * 14 / 24.1 - 0.5
    near = np.floor(at).astype(int)[:, None] + np.arange(-1, 3)
    far = np.abs(at[:, None] - near)
    inner = 1.25 * far**3 - 2.25 * far**2 + 1
    weights = np.where(far <= 1, inner, -0.75 * (far**3 - 5 * far**2 + 8 * far - 4))
    np.testing.assert_allclose(places[5], (weights * row[near.clip(0, 13)]).sum(1), atol=1e-5)
    np.testing.assert_allclose(small._places(224, 224)[0, :14, 0], row)


# -- CLIP --


def _theirs(name):
    transformers = pytest.importorskip("transformers")
    size = clip_vision.TOWERS[name]
    config = transformers.CLIPVisionConfig(
        hidden_size=size.width, intermediate_size=4 * size.width, num_hidden_layers=size.depth,
        num_attention_heads=size.heads, patch_size=size.patch, projection_dim=size.numbers,
        image_size=224,
    )  # fmt: skip
    return transformers.CLIPVisionModelWithProjection(config)


@pytest.mark.parametrize("name", clip_vision.TOWERS)
def test_clips_keys_are_those_of_transformers(name):
    ours = shapes(lambda: clip_vision.ClipVision(name))
    theirs = shapes(lambda: _theirs(name))
    assert ours == {k: v for k, v in theirs.items() if k not in clip_vision.UNUSED}


@pytest.mark.parametrize("name", clip_vision.TOWERS)
def test_clip_computes_what_transformers_does(name, monkeypatch):
    size = clip_vision.Tower(64, 4, 2, clip_vision.TOWERS[name].patch, 40)
    monkeypatch.setitem(clip_vision.TOWERS, name, size)
    ours, theirs = crc_weights.filled(clip_vision.ClipVision(name)), _theirs(name).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    pictures = torch.from_numpy(normal("clip.picture", (2, 3, 224, 224)))
    with torch.inference_mode():
        golden = theirs(pixel_values=pictures).image_embeds.numpy()
    assert apart(output(ours, pictures), golden) < TOLERANCE


def test_clips_text_half_is_left_out_and_nothing_else(tmp_path, monkeypatch):
    name, file = "clip_vit_b32", tmp_path / "clip.safetensors"
    monkeypatch.setitem(clip_vision.TOWERS, name, clip_vision.Tower(16, 4, 1, 32, 8))

    def load():
        make = lambda: clip_vision.ClipVision(name)  # noqa: E731 - a class with its argument
        return load_published(make, file, "no CLIP", clip_vision.UNUSED)

    state = crc_weights.filled(clip_vision.ClipVision(name)).state_dict()
    besides = {
        "logit_scale": torch.tensor(4.6), "text_projection.weight": torch.zeros(8, 8),
        "text_model.final_layer_norm.weight": torch.zeros(8),
        "vision_model.embeddings.position_ids": torch.arange(50)[None],
    }  # fmt: skip
    save_file({**state, **besides}, file)
    assert load().state_dict().keys() == state.keys()
    for wrong in ({"text_modelling": torch.zeros(1)}, {"vision_model.more": torch.zeros(1)}):
        save_file({**state, **wrong}, file)
        with pytest.raises(InputError, match="no CLIP"):
            load()


# -- RAFT, AMT-S, MUSIQ --


@pytest.mark.parametrize(
    ("make", "keys"),
    [(raft.Raft, "d23655e307bf4102"), (amt.Amt, "260e6ea545aecae6"),
     (musiq.Musiq, "40407b83c930407d")],
)  # fmt: skip
def test_keys_and_shapes_are_the_published_ones(make, keys):
    assert digest(make) == keys


def test_raft_computes_the_published_function(monkeypatch):
    monkeypatch.setattr(raft, "STEPS", 3)
    net = crc_weights.filled(raft.Raft(), 0.5)
    flow = output(net, *(drawn(f"raft.{n}", (1, 3, 128, 136), 255) for n in ("first", "second")))
    assert apart(sketch(flow), RAFT) < TOLERANCE


def test_amt_computes_the_published_function():
    net = crc_weights.filled(amt.Amt(), 0.5)
    frame = output(net, *(drawn(f"amt.{n}", (1, 3, 128, 144)) for n in ("before", "after")))
    assert apart(sketch(frame), AMT) < TOLERANCE


def test_musiq_computes_the_published_function():
    net = crc_weights.filled(musiq.Musiq())
    scores = output(net, drawn("musiq.pictures", (2, 3, 120, 200)))
    assert apart(sketch(scores), MUSIQ) < TOLERANCE


def test_places_of_musiq_are_hashed_as_published():
    for count in (1, 3, 7, 10, 12, 16, 23):
        _, places = musiq.views(torch.zeros(1, 3, 32 * count, 32), None)
        nearest = torch.nn.functional.interpolate(torch.arange(10.0).view(1, 1, 10), count)
        np.testing.assert_array_equal(places, 10 * nearest[0, 0].long())


@pytest.mark.parametrize("make", [raft.Raft, amt.Amt])
def test_batches_change_no_motion(make, monkeypatch):
    monkeypatch.setattr(raft, "STEPS", 2)
    net = crc_weights.filled(make(), 0.5)
    pair = [drawn(f"batch.{n}", (2, 3, 128, 128)) for n in ("a", "b")]
    singly = np.concatenate([output(net, *(x[i : i + 1] for x in pair)) for i in range(2)])
    np.testing.assert_allclose(output(net, *pair), singly, rtol=1e-3, atol=1e-4)


def test_a_moved_picture_is_read_where_it_went():
    picture = drawn("moved", (1, 3, 20, 30))
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 20, 30)
    seen = correlation.moved(picture, flow)
    np.testing.assert_allclose(seen[..., 2:, :27], picture[..., :18, 3:], atol=1e-5)
    np.testing.assert_allclose(seen[..., 5, 29], picture[..., 3, 29], atol=1e-5)


def test_published_files_are_converted_and_loaded(tmp_path):
    """RAFT's was saved from several cards, AMT's beside the state of its training."""
    state = crc_weights.filled(raft.Raft()).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "raft.pth")
    convert(tmp_path / "raft.pth", tmp_path / "raft.safetensors")
    load_published(raft.Raft, tmp_path / "raft.safetensors", "none")
    state = crc_weights.filled(amt.Amt()).state_dict()
    torch.save(
        {"state_dict": state, "epoch": 3, "optim": {"a": torch.zeros(1)}}, tmp_path / "a.pth"
    )
    convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    load_published(amt.Amt, tmp_path / "a.safetensors", "none")
    with pytest.raises(InputError, match="is no RAFT"):
        load_published(raft.Raft, tmp_path / "a.safetensors", "no RAFT")
