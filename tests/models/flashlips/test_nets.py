from __future__ import annotations

import pytest
import torch

from core.errors import InputError
from models.blocks.resnet import ResBlock
from models.flashlips.fmt import FMT
from models.flashlips.net import Editor, ImageLipsEncoder, LipsEncoder, ReferenceNet, ViT
from models.flashlips.parts import Statistics, build, images, latent_mask, lips_dim, pixels
from models.flashlips.unet import UNet
from models.flow import euler, path_sample
from training.recipes.flashlips import NANO_NET


def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_the_papers_sizes():
    with torch.device("meta"):
        assert millions(UNet()) == pytest.approx(211.17, abs=0.005)  # Table A.1
        assert millions(FMT()) == pytest.approx(155.15, abs=0.005)  # Table A.3, K = 4
        assert millions(ViT()) == pytest.approx(268.94, abs=0.005)  # Table A.2
        assert millions(Editor(vit={})) == pytest.approx(millions(ViT()) + millions(ReferenceNet()))
        assert ReferenceNet()(torch.empty(1, 4, 64, 64)).shape == (1, 36, 64, 64)
        assert Editor().unet.conv_in.in_channels == 52


def test_an_untrained_editor_changes_nothing():
    editor = build("editor", NANO_NET)
    z = torch.randn(2, 32, 16, 16)
    reference = editor.reference(torch.randn(2, 32, 16, 16))
    assert torch.equal(editor(z, reference, torch.randn(2, 12)), z)


def test_every_lips_number_reaches_every_place():
    torch.manual_seed(0)
    editor = build("editor", NANO_NET)
    torch.nn.init.normal_(editor.unet.conv_out.weight, std=0.1)
    z, lips = torch.randn(1, 32, 16, 16), torch.zeros(1, 12)
    reference = editor.reference(z)
    base = editor(z, reference, lips)
    for i in range(12):
        moved = editor(z, reference, lips + torch.eye(12)[i])
        assert ((moved - base).abs().sum(1) > 0).all(), i


def test_film_tells_every_block_and_a_fresh_one_does_nothing():
    plain = ResBlock(8, 16, 4)
    told = ResBlock(8, 16, 4, condition=12)
    told.load_state_dict(plain.state_dict(), strict=False)
    x, lips = torch.randn(2, 8, 6, 6), torch.randn(2, 12)
    assert torch.equal(told(x, lips), plain(x))
    with torch.no_grad():
        told.film.weight.normal_()
    assert not torch.allclose(told(x, lips), told(x, -lips))
    unet = UNet(5, 4, (8, 16), blocks=1, mid=1, groups=4, condition=12)
    blocks = [m for m in unet.modules() if isinstance(m, ResBlock)]
    with torch.no_grad():
        unet.conv_out.weight.normal_()
    unet(torch.randn(2, 5, 8, 8), lips).square().sum().backward()
    assert all(b.film.weight.grad.abs().sum() > 0 for b in blocks), "each one hears"


def test_lips_encoders_give_twelve_numbers_from_expression_and_pixels():
    net = NANO_NET
    encoder, image = build("lips_encoder", net), build("image_encoder", net)
    x = torch.rand(3, 3, 128, 128) * 2 - 1
    e = torch.randn(3, net["expression"])
    z = encoder(e, x)
    assert z.shape == (3, 12)
    assert image(x).shape == (3, 12)
    other = encoder(e, -x)
    assert torch.equal(z[:, :8], other[:, :8])  # the main part sees no pixels
    assert not torch.allclose(z[:, 8:], other[:, 8:])
    upper = x.clone()
    upper[:, :, :40] = 0
    assert torch.equal(encoder(e, upper), z)  # only the mouth's region is looked at


def test_unet_takes_other_grids():
    u = UNet(8, 4, (16, 32), 1, 1, 8)
    assert u(torch.randn(1, 8, 12, 20)).shape == (1, 4, 12, 20)


def test_flow_path_is_a_straight_line_and_euler_follows_it():
    z, noise = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    at = path_sample(z, noise, torch.tensor([0.0, 1.0]))
    assert torch.allclose(at.z_t[0], noise[0])
    assert torch.allclose(at.z_t[1], z[1])
    assert torch.allclose(noise + at.u, z, atol=1e-6)
    end = euler(lambda z_t, t: z - noise, noise, 7)
    assert torch.allclose(end, z, atol=1e-5)


def test_fmt_sees_speech_history_and_references():
    torch.manual_seed(0)
    fmt = build("fmt", NANO_NET).net
    for p in fmt.parameters():
        torch.nn.init.normal_(p, std=0.05)
    z, t = torch.randn(1, 60, 12), torch.tensor([0.5])
    speech, refs = torch.randn(1, 60, NANO_NET["fmt"]["speech"]), torch.randn(1, 48)
    base = fmt(z, t, speech, refs)
    assert base.shape == (1, 60, 12)
    for inputs in ((z, t, speech + 1, refs), (z, t, speech, refs + 1), (z, t + 0.3, speech, refs)):
        assert (fmt(*inputs) - base).abs().mean() > 1e-4
    history = z.clone()
    history[:, :10] += 1
    assert (fmt(history, t, speech, refs)[:, 10:] - base[:, 10:]).abs().mean() > 1e-6


def test_statistics_and_pixels_round_trip():
    x = torch.randn(500, 4) * torch.tensor([1.0, 2.0, 0.1, 5.0]) + 3
    s = Statistics()
    for part in x.split(77):
        s.add(part)
    mean, std = s.mean_std()
    assert torch.allclose(mean, x.mean(0), atol=1e-4)
    assert torch.allclose(std, x.std(0, correction=0), rtol=1e-4)
    crops = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(pixels(images(crops)), crops)
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 8:] = True
    assert latent_mask(mask, 2).flatten().tolist() == [0, 0, 1, 1]


def test_an_impossible_size_is_one_sentence():
    from core.errors import InputError

    with pytest.raises(InputError, match="can't build 'fmt'"):
        build("fmt", {**NANO_NET, "fmt": {"width": 3}})


def test_the_vit_sees_everything_and_knows_places():
    torch.manual_seed(0)
    vit = ViT(6, 4, narrow=16, dim=64, depth=2, heads=4, groups=4)
    assert vit(torch.randn(2, 6, 5, 7)).shape == (2, 4, 5, 7)
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    vit(x)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all(), "the first cell hears every cell"
    same = vit(torch.ones(1, 6, 4, 4))
    assert (same.flatten(2)[0].T.unique(dim=0).shape[0]) == 16, "alike cells, told apart by place"
    moved = vit(torch.roll(x.detach(), 1, -1))
    assert not torch.allclose(torch.roll(vit(x.detach()), 1, -1), moved)


def test_the_vit_works_in_the_type_of_its_weights():
    torch.manual_seed(0)
    vit, x = ViT(6, 4, narrow=16, dim=64, depth=2, heads=4, groups=4), torch.randn(1, 6, 4, 4)
    seen = []
    vit.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    with torch.no_grad():
        expected = vit(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vit(x)
        found = vit.bfloat16()(x.bfloat16())
    assert seen == [torch.float32, torch.float32, torch.bfloat16]
    assert torch.allclose(found.float(), expected, atol=0.05 * float(expected.abs().max()))


def test_an_editor_on_the_vit():
    net = {**NANO_NET, "editor": {"vit": {"narrow": 32, "dim": 64, "depth": 2, "heads": 4}}}
    editor = build("editor", net)
    z, lips = torch.randn(2, 32, 8, 8), torch.randn(2, 12)
    reference = editor.reference(z)
    assert torch.equal(editor(z, reference, lips), z), "untrained, it changes nothing"
    torch.nn.init.normal_(editor.backbone.conv_out.weight, std=0.1)
    assert not torch.allclose(editor(z, reference, lips), editor(z, reference, -lips))
    with pytest.raises(InputError, match="film"):
        build("editor", {**net, "editor": {**net["editor"], "film": True}})


def test_a_summed_lips_vector_is_as_long_as_its_longer_part():
    torch.manual_seed(0)
    sizes = {"hidden": 16, "width": 8, "layers": [1, 1], "mouth": 32}
    made = LipsEncoder(10, main=8, residual=4, compose="sum", **sizes)
    expression, pictures = torch.randn(2, 10), torch.randn(2, 3, 64, 64)
    lips = made(expression, pictures)
    assert lips.shape == (2, 8)
    other = made(expression, pictures.flip(0))
    assert torch.equal(lips[:, 4:], other[:, 4:]), "the mouth crop reaches the first four"
    assert not torch.equal(lips[:, :4], other[:, :4])
    assert lips_dim({"lips_encoder": {"main": 8, "residual": 4, "compose": "sum"}}) == 8
    with pytest.raises(InputError, match="compose is 'mean'"):
        build("lips_encoder", {"expression": 10, "lips_encoder": {**sizes, "compose": "mean"}})


def test_resnet_50_gives_a_vector():
    net = ImageLipsEncoder(12, layers=(1, 1), width=8, size=32, bottleneck=True)
    assert net(torch.randn(2, 3, 64, 64)).shape == (2, 12)
