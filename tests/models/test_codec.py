from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.errors import InputError
from core.weights import Store
from models.experts import codec as codecs
from models.experts.codec import SLIM_FOLDER, load_codec
from models.experts.codec_training import CodecDistillation, edges
from models.experts.codecs.slim import Slim
from models.experts.codecs.taef2 import Taef2

NOWHERE = Store((Path("no-such-folder"),))


@pytest.fixture(scope="module")
def slim():
    if not (SLIM_FOLDER / "card.json").exists():
        pytest.skip("checkpoints/codec-slim is not built: run 'make codec'")
    return load_codec("slim", NOWHERE)


@pytest.fixture(scope="module")
def photo():
    data = pytest.importorskip("skimage.data")
    picture = cv2.resize(data.astronaut()[0:256, 96:352], (128, 128), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None] / 127.5 - 1


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10(((a.clamp(-1, 1) - b) / 2).square().mean()))


def test_slim_round_trip_of_a_face(slim, photo):
    z = slim.encode(photo)
    assert z.shape == (1, 32, 16, 16)
    assert slim.channels == 32
    assert slim.stride == 8
    assert 0.6 < float(z.std()) < 1.6
    assert psnr(slim.decode(z), photo) > 24


def test_any_size_of_whole_latents_and_no_other(slim):
    assert slim(torch.zeros(2, 3, 64, 96)).shape == (2, 3, 64, 96)
    with pytest.raises(InputError, match="multiples of 8"):
        slim.encode(torch.zeros(1, 3, 60, 64))


def test_a_codec_is_frozen_and_lets_gradients_through(slim):
    slim.train()
    assert not slim.body.training
    assert not any(p.requires_grad for p in slim.parameters())
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    slim.decode(slim.encode(x)).square().mean().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0


def test_id_follows_the_weights(slim):
    name, _, sha = slim.id.partition("@")
    assert (name, len(sha)) == ("slim", 16)
    assert load_codec("slim", NOWHERE).id == slim.id
    other = {k: v.clone() for k, v in codecs.encoder_tensors(slim.body).items()}
    assert codecs.tensors_sha(other) == sha
    other[next(iter(other))][0] += 1e-3
    assert codecs.tensors_sha(other) != sha


def test_slim_exports_to_onnx_and_gives_the_same(slim, photo, tmp_path):
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    path = tmp_path / "slim.onnx"
    torch.onnx.export(slim, (photo,), path, dynamo=False, opset_version=17, input_names=["x"])
    out = ort.InferenceSession(str(path)).run(None, {"x": photo.numpy()})
    assert np.abs(out[0] - slim(photo).numpy()).max() < 2e-3


def test_unknown_names_and_missing_weights_are_one_sentence(tmp_path):
    for name in ("vae", "diffusers:", "slim:x"):
        with pytest.raises(InputError, match="no codec"):
            load_codec(name, NOWHERE)
    with pytest.raises(InputError, match=r"taef2_encoder\.pth"):
        load_codec("taef2", NOWHERE)
    with pytest.raises(InputError, match="no checkpoint"):
        load_codec("slim", NOWHERE, tmp_path)
    with pytest.raises(InputError, match=r"config\.json"):
        load_codec(f"diffusers:{tmp_path}", NOWHERE)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(InputError, match="UNet2DModel"):
        load_codec(f"diffusers:{tmp_path}", NOWHERE)


def test_a_damaged_slim_checkpoint_is_named(slim, tmp_path):
    (tmp_path / "card.json").write_bytes((SLIM_FOLDER / "card.json").read_bytes())
    with pytest.raises(InputError, match="missing"):
        load_codec("slim", NOWHERE, tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InputError, match="safetensors"):
        load_codec("slim", NOWHERE, tmp_path)


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderTiny"])
def test_a_diffusers_folder(kind, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    if kind == "AutoencoderKL":
        net = diffusers.AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            scaling_factor=0.5,
            shift_factor=0.25,
        )
    else:
        net = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    net.save_pretrained(tmp_path / "net")
    codec = load_codec(f"diffusers:{tmp_path / 'net'}", NOWHERE)
    x = torch.rand(1, 3, 16, 16)
    z = codec.encode(x)
    assert codec.stride == 2
    assert z.shape == (1, codec.channels, 8, 8)
    if kind == "AutoencoderKL":
        mode = net.eval().encode(x).latent_dist.mode()
        torch.testing.assert_close(z, (mode - 0.25) * 0.5)
        torch.testing.assert_close(codec.decode(z), net.decode(mode).sample, atol=1e-4, rtol=1e-4)


def test_taef2_is_converted_once_and_beats_slim_on_a_face(shared, slim, photo, tmp_path):
    if not (shared / "weights" / "taef2_encoder.pth").exists():
        pytest.skip("TAEF2 is not in shared/weights")
    store = Store((tmp_path, shared / "weights"))
    codec = load_codec("taef2", store)
    assert psnr(codec(photo), photo) > psnr(slim(photo), photo)
    cached = tmp_path / "converted" / "taef2_encoder.safetensors"
    cached.write_bytes(cached.read_bytes()[:1000])
    assert load_codec("taef2", store).id == codec.id
    close = torch.nn.functional.mse_loss(slim.encode(photo), codec.encode(photo))
    assert float(close) < 0.6 * float(codec.encode(photo).var())


def test_slim_starts_from_its_teachers_tensors():
    teacher, slim = Taef2(), Slim()
    slim.start_from(teacher)
    features = torch.rand(1, 64, 16, 16)
    torch.testing.assert_close(
        slim.encoder["trunk"](features), torch.nn.Sequential(*list(teacher.encoder)[7:])(features)
    )


def test_losses_reach_every_tensor_and_fall_with_training():
    torch.manual_seed(0)
    objective = CodecDistillation(Slim(), Taef2())
    rng = np.random.default_rng(0)
    patch = np.repeat(np.repeat(rng.integers(0, 255, (4, 4, 4, 3)), 8, 1), 8, 2).astype(np.uint8)
    sample = {"patch": patch}
    batch = {"patch": torch.from_numpy(patch)}
    batch["latent"] = torch.as_tensor(objective.derive(sample)["latent"])
    parameters = [p for m in objective.trainable().values() for p in m.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    totals = []
    for _ in range(8):
        terms = objective.losses(batch, None)
        assert terms.keys() == objective.terms
        total = terms["pixel"] + terms["square"] + terms["edge"] + terms["latent"]
        optimiser.zero_grad()
        total.backward()
        assert all(p.grad is not None for p in parameters)
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]
    measured = objective.measure(batch, None)
    assert {"error", "copy_error"} <= measured.keys()
    assert all(v.shape == (4,) for v in measured.values())


def test_edges_of_a_ramp():
    ramp = torch.arange(4.0).expand(1, 1, 3, 4)
    found = edges(ramp)
    assert found.shape == (1, 2, 2, 3)
    assert bool((found[:, 0] == 1).all())
    assert bool((found[:, 1] == 0).all())
