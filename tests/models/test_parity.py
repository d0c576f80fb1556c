"""Five published networks: the same keys and shapes, and the same function.

Weights and inputs come from names (``crc_weights``); golden outputs are those of the published
code on them. All of them, and the lists of keys, lie in shared/parity beside the checkout; a digest
of each list and a few numbers of each output are here.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.experts.hyper_iqa import HyperIQA
from models.experts.inception import Inception
from models.experts.lip_reader import LipReaderNet, unread
from models.experts.stable_syncnet import StableSyncNet
from models.experts.syncnet import SyncNet
from tests.models import crc_weights
from tests.models.crc_weights import apart, bytes_, normal, sketch, uniform

TOLERANCE = 2e-5
"""Relative L2. Float32 makes 5e-6 at most; a GELU by tanh, the least mistake seen, makes 9e-5."""


@dataclass(frozen=True, eq=False)
class Network:
    """One of them.

    Attributes:
        file: in shared/parity, without its ending.
        make: the net.
        keys: digest of its names and shapes.
        run: its outputs by their golden names.
        sketches: a few numbers of some of the outputs, see ``sketch``.
        prefix: of the golden names. gain: of the weights.
    """

    file: str
    make: Callable[[], torch.nn.Module]
    keys: str
    run: Callable[[torch.nn.Module], dict[str, torch.Tensor]]
    sketches: dict[str, list[float]]
    prefix: str = ""
    gain: float = 1.0


def _lips(net):
    mouths = torch.from_numpy(normal("auto_avsr.input", (1, 8, 1, 88, 88)))
    return {"output": net(mouths[:, :, 0])}


def _syncnet(net):
    lip = torch.from_numpy(uniform("syncnet_v2.lip", (1, 3, 5, 224, 224)))
    sound = torch.from_numpy(normal("syncnet_v2.mfcc", (1, 1, 13, 20)))
    return {
        "lip_embedding": net.lips(lip),
        "lip_embedding_0_255": net.lips((256 * lip).floor().clamp(max=255)),
        "audio_embedding": net.sound(sound),
    }


def _stable_syncnet(net):
    frames = torch.from_numpy(2 * uniform("stable_syncnet.frames", (1, 48, 128, 256)) - 1)
    mel = torch.from_numpy(normal("stable_syncnet.mel", (1, 1, 80, 52)))
    vision, audio = net(frames, mel)
    return {"vision_embedding": vision, "audio_embedding": audio}


def _inception(net):
    square = torch.from_numpy(bytes_("inception_v3.image", (1, 3, 299, 299)))
    wide = torch.from_numpy(bytes_("inception_v3.image.120x200", (1, 3, 120, 200)))
    found = {f"feature_{name}": feature for name, feature in net(square).items()}
    return found | {"feature_2048.120x200": net(wide)["2048"]}


def _hyper_iqa(net):
    names = ("hyper_iqa.image", "hyper_iqa.image.2")
    both = torch.cat([torch.from_numpy(normal(name, (1, 3, 224, 224))) for name in names])
    return {
        "quality": net(both[:1]),
        "quality_batch2": net(both),
        "target_in_vec": net.res(both[:1])[1],
    }


NETWORKS = (
    Network(
        "auto_avsr_vsr_encoder",
        LipReaderNet,
        "c3ff773680abe2ba",
        _lips,
        {"output": [78.478023, -44.391011, -0.39502138, -131.6018]},
    ),
    Network(
        "latentsync_stable_syncnet",
        StableSyncNet,
        "10d95c1c31533a77",
        _stable_syncnet,
        {
            "vision_embedding": [1.0, 1.7628723, 0.99182772, -0.73293231],
            "audio_embedding": [1.0, 1.2220304, -0.6161246, -0.4962752],
        },
    ),
    Network(
        "syncnet_v2",
        SyncNet,
        "53f6823c17b1fa9c",
        _syncnet,
        {
            "lip_embedding": [4.9667923, -7.6585608, -2.003821, -0.7057533],
            "lip_embedding_0_255": [700.30123, -771.88113, 120.30659, -568.25518],
            "audio_embedding": [6.7810549, 2.7838185, 10.002296, -5.338364],
        },
    ),
    Network(
        "inception_v3_fid",
        Inception,
        "760681d791cb624e",
        _inception,
        {
            "feature_64": [7.4529052, 0.35094116, -9.8641363, -10.313056],
            "feature_logits": [20.158657, 2.8368624, 28.319099, 11.312487],
            "feature_2048.120x200": [15.752291, 36.989944, 21.026022, 0.23693699],
        },
        "gain_sqrt2.",
        float(np.sqrt(2)),
    ),
    Network(
        "hyper_iqa",
        HyperIQA,
        "90dcd208bb80ab96",
        _hyper_iqa,
        {
            "quality_batch2": [0.090182364, 0.050156824, -0.11131874, -0.038066954],
            "target_in_vec": [19.606603, -9.6401867, -6.5505869, -31.70268],
        },
    ),
)
LARGE = {"auto_avsr_vsr_encoder", "latentsync_stable_syncnet"}
"""Hundreds of millions of random numbers: half a minute and 2 GB each."""
SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))

each = pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.file)
each_run = pytest.mark.parametrize(
    "network",
    [pytest.param(n, marks=SLOW if n.file in LARGE else ()) for n in NETWORKS],
    ids=lambda n: n.file,
)


@pytest.fixture
def parity(shared):
    # Too big to commit; digests of the key lists and a few numbers of narrow nets need no file.
    if not (shared / "parity").is_dir():
        pytest.skip("no golden outputs at shared/parity beside the checkout")
    return shared / "parity"


def _shapes(make):
    with torch.device("meta"):
        net = make()
    return {key: list(value.shape) for key, value in net.state_dict().items()}


@functools.cache  # only the outputs stay
def _outputs(network):
    """Sums over the weights, and outputs by their golden names."""
    with torch.device("meta"):
        net = network.make()
    net = crc_weights.filled(net, network.gain)
    floats = [v for v in net.state_dict().values() if v.is_floating_point()]
    sums = [float(sum(t(v).sum(dtype=torch.float64) for v in floats)) for t in (torch.clone, abs)]
    with torch.inference_mode():
        return sums, {name: out.numpy() for name, out in network.run(net).items()}


def test_weights_and_inputs_follow_the_rule():
    first = {
        "encoder.embed.0.weight": [0.59655714, 0.48615062, 0.9268998, 0.21843973],
        "netfclip.0.bias": [0.55305, 0.09197424, -0.2971706, 0.5597441],
        "auto_avsr.input": [3.2853026, -0.49544278, 0.18554074, -2.1616566],
    }
    for name, golden in first.items():
        np.testing.assert_allclose(normal(name, (4,)), golden, rtol=1e-6)
    found = uniform("syncnet_v2.lip", (4,))
    np.testing.assert_allclose(found, [0.14881444, 0.9247542, 0.6374439, 0.12177289], rtol=1e-6)
    assert bytes_("syncnet_v2.lip", (4,)).tolist() == [38, 236, 163, 31]
    w = crc_weights.tensor("encoder.embed.0.weight", (2, 16), gain=2.0)
    np.testing.assert_allclose(w[0, :2], [0.59655714 / 2, 0.48615062 / 2], rtol=1e-6)
    table = crc_weights.tensor("a.pos_encoder.pe", (1, 24, 4))
    golden = [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)]
    np.testing.assert_allclose(table[0, 2], golden, rtol=1e-6)


@each
def test_keys_and_shapes_are_the_published_ones(network):
    lines = "\n".join(f"{key} {tuple(s)}" for key, s in sorted(_shapes(network.make).items()))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == network.keys


@each
def test_keys_and_shapes_equal_the_shared_list(network, parity):
    told = json.loads((parity / f"{network.file}.json").read_text())
    assert _shapes(network.make) == told["keys"]
    if "other_checkpoint_keys" in told:
        assert unread() == set(told["other_checkpoint_keys"])


@each_run
def test_it_computes_the_published_function(network):
    found = _outputs(network)[1]
    for name, golden in network.sketches.items():
        assert apart(sketch(found[name]), golden) < TOLERANCE, name


@each_run
def test_outputs_equal_the_shared_goldens(network, parity):
    told = json.loads((parity / f"{network.file}.json").read_text())
    sums, found = _outputs(network)
    golden = [told[f"{network.prefix.replace('.', '_')}weights_{s}sum"] for s in ("", "abs_")]
    np.testing.assert_allclose(sums, golden, rtol=1e-11)
    goldens = np.load(parity / f"{network.file}.npz")
    for name, output in found.items():
        far = apart(output, goldens[network.prefix + name])
        assert far < TOLERANCE, (name, far)
