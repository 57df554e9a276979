"""The built-in networks: their sizes are the paper's, and so is what they see."""

from __future__ import annotations

import inspect
import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from i2i.contracts import Discriminator, Generator
from i2i.discriminators.patch import STRIDED, PatchGAN
from i2i.errors import UsageError
from i2i.generators.encoder_decoder import encoder_decoder
from i2i.generators.resnet import ResNet
from i2i.generators.unet import UNet
from i2i.nn import ChannelNorm, doubling, normalisation


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("channels", "options", "parameters"),
    [
        ((3, 3), {"norm": "batch"}, 54_413_955),
        ((3, 3), {"norm": "none"}, 54_404_099),
        ((1, 2), {"norm": "batch"}, 54_409_858),
        ((3, 3), {"norm": "batch", "depth": 7}, 41_828_995),
        # The authors' instance normalisation learns no gain and no shift, ours does: it replaces all but two biases.
        ((3, 3), {"norm": "instance"}, 54_413_955 + 64 + 512),
    ],
)
def test_the_unet_has_as_many_parameters_as_the_authors(channels, options, parameters):
    with torch.device("meta"):
        assert count(UNet(*channels, **options)) == parameters


def test_the_encoder_decoder_has_the_layers_of_the_paper():
    """Section 6.1.1: C64-C128-C256-C512 x 5, then CD512 x 3-C512-C256-C128-C64 and the output."""
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [512, 512, 512, 512, 512, 256, 128, 64, 3]
    convolutions = sum(16 * a * b for chain in (down, up) for a, b in itertools.pairwise(chain))
    normalised = down[2:-1] + up[1:-1]  # neither the first block, nor the bottleneck, nor the output
    with torch.device("meta"):
        assert count(encoder_decoder(3, 3, norm="none")) == convolutions + 3
        assert count(encoder_decoder(3, 3, norm="batch")) == convolutions + 3 + 2 * sum(normalised)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"norm": "batch"}, 11_383_427),
        # The authors' instance normalisation learns no gain and no shift, but each convolution before it has a bias.
        ({"norm": "none"}, 11_378_179),
        ({"norm": "none", "blocks": 6}, 7_837_699),
        ({"norm": "instance"}, 11_383_427),
    ],
)
def test_the_resnet_has_as_many_parameters_as_the_authors(options, parameters):
    with torch.device("meta"):
        assert count(ResNet(3, 3, **options)) == parameters


@pytest.mark.parametrize(
    ("channels", "options", "parameters"),
    [
        (6, {"norm": "batch"}, 2_768_705),
        (6, {"norm": "batch", "field": 1}, 9_024),
        (3, {"norm": "none"}, 2_764_737),
        (3, {"norm": "instance"}, 2_764_737 + 128 + 256 + 512),
    ],
)
def test_the_discriminator_has_as_many_parameters_as_the_authors(channels, options, parameters):
    with torch.device("meta"):
        assert count(PatchGAN(channels, **options)) == parameters


def nested(net: UNet, x: torch.Tensor, level: int = 0) -> torch.Tensor:
    """Run the U-Net in the authors' form, each level wrapped around the next, with instance normalisation."""
    down, up, innermost = net.encoder[level], net.decoder[-1 - level], level == len(net.encoder) - 1
    y = F.conv2d(F.leaky_relu(x, 0.2) if level else x, down.conv.weight, down.conv.bias, stride=2, padding=1)
    if level and not innermost:
        y = F.instance_norm(y, weight=down.norm.weight, bias=down.norm.bias)
    y = y if innermost else nested(net, y, level + 1)
    y = F.conv_transpose2d(F.relu(y), up.conv.weight, up.conv.bias, stride=2, padding=1)
    if level == 0:
        return y
    y = F.instance_norm(y, weight=up.norm.weight, bias=up.norm.bias)
    return torch.cat([x, y], 1) if net.skips else y


@pytest.mark.parametrize("make", [UNet, encoder_decoder])
@pytest.mark.parametrize("depth", [1, 2, 4, 5])
def test_the_unet_equals_the_authors_nested_form(make, depth):
    torch.manual_seed(0)
    net = make(3, 2, depth=depth, width=4, max_width=16).eval()
    x = torch.randn(2, 3, 64, 32)
    assert net.multiple == 2**depth
    torch.testing.assert_close(net(x), nested(net, x))


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_without_skips_all_that_is_known_of_the_input_passes_through_the_bottleneck(upsampling):
    torch.manual_seed(0)
    x, other = torch.randn(2, 1, 3, 32, 32)
    for make, knows in ((UNet, True), (encoder_decoder, False)):
        net = make(3, 3, depth=4, width=4, upsampling=upsampling).eval()
        assert not torch.equal(net(x), net(other))
        nn.init.zeros_(net.encoder[-1].conv.weight)
        assert torch.equal(net(x), net(other)) != knows


def test_the_encoder_decoder_is_the_unet_without_skips():
    def parameters(make) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(make).parameters)

    assert parameters(encoder_decoder) == {name: p for name, p in parameters(UNet).items() if name != "skips"}
    options = {"depth": 3, "width": 4, "max_width": 8, "norm": "batch", "dropout": 0.25}
    options |= {"dropout_blocks": (1,), "upsampling": "resize"}
    assert set(options) == set(list(parameters(encoder_decoder))[2:])
    assert str(encoder_decoder(3, 2, **options)) == str(UNet(3, 2, skips=False, **options))


class Residual(nn.Module):
    """A residual block under the authors' names."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


def authors_resnet(blocks: int, width: int, dropout: float) -> nn.Module:
    """The authors' residual generator from stock modules, 3 to 2 channels, their normalisation made affine, no tanh."""
    norm = partial(nn.InstanceNorm2d, affine=True)
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), norm(width), nn.ReLU()]
    for c in (width, 2 * width):
        layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=False), norm(2 * c), nn.ReLU()]
    c = 4 * width
    for _ in range(blocks):
        first = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=False), norm(c), nn.ReLU()]
        middle = [nn.Dropout(dropout)] if dropout else []
        layers.append(Residual(*first, *middle, nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=False), norm(c)))
    for c in (4 * width, 2 * width):
        layers += [nn.ConvTranspose2d(c, c // 2, 3, 2, 1, 1, bias=False), norm(c // 2), nn.ReLU()]
    return nn.ModuleDict({"model": nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 2, 7))})


@pytest.mark.parametrize(("blocks", "dropout"), [(1, 0.0), (6, 0.0), (2, 0.5)])
def test_the_resnet_is_the_authors_to_the_names_of_its_weights(blocks, dropout):
    torch.manual_seed(0)
    ours, theirs = ResNet(3, 2, blocks=blocks, width=4, dropout=dropout), authors_resnet(blocks, 4, dropout)
    theirs.load_state_dict(ours.state_dict())
    assert f"model.{17 + blocks}.bias" in ours.state_dict()
    x = torch.randn(2, 3, 16, 32)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()["model"](x))
    torch.manual_seed(1)
    noisy = ours.train()(x)
    torch.manual_seed(1)
    torch.testing.assert_close(noisy, theirs.train()["model"](x))
    assert torch.equal(noisy, ours(x)) == (dropout == 0)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_the_resnet_takes_inputs_too_small_to_be_reflected(upsampling):
    torch.manual_seed(0)
    net = ResNet(1, 2, blocks=1, width=4, upsampling=upsampling).eval()
    for size in [(4, 4), (8, 4), (4, 64)]:
        assert net(torch.randn(1, 1, *size)).shape == (1, 2, *size)
        assert net(torch.randn(1, 1, *size)).isfinite().all()


@pytest.mark.parametrize("kernel", [3, 4])
def test_resizing_before_a_convolution_leaves_no_checkerboard(kernel):
    torch.manual_seed(0)
    flat = torch.ones(1, 3, 5, 6)
    layer = doubling("transposed", 3, 2, kernel=kernel, bias=True)
    assert layer(flat).shape == (1, 2, 10, 12)
    assert layer(flat)[0, 0, 4:6, 4:6].std() > 0.01
    layer = doubling("resize", 3, 2, kernel=kernel, bias=True)
    assert layer(flat).shape == (1, 2, 10, 12)
    assert layer(flat).std(dim=(2, 3)).max() < 1e-6
    # What it resizes is every value, twice in each direction.
    nn.init.dirac_(layer[1].weight)
    nn.init.zeros_(layer[1].bias)
    x = torch.randn(1, 3, 5, 6)
    torch.testing.assert_close(layer(x), x[:, :2].repeat_interleave(2, 2).repeat_interleave(2, 3))


GENERATORS = {
    "unet": partial(UNet, depth=3, width=4),
    "unet resize": partial(UNet, depth=3, width=4, upsampling="resize"),
    "encoder_decoder": partial(encoder_decoder, depth=3, width=4),
    "encoder_decoder resize": partial(encoder_decoder, depth=3, width=4, upsampling="resize"),
    "unet bilinear": partial(UNet, depth=3, width=4, upsampling="bilinear"),
    "resnet": partial(ResNet, blocks=1, width=4, dropout=0.5),
    "resnet anti-aliased": partial(
        ResNet, blocks=1, width=4, dropout=0.5, downsampling="blurred", upsampling="bilinear"
    ),
    "resnet resize": partial(ResNet, blocks=1, width=4, dropout=0.5, upsampling="resize"),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_run_at_every_multiple_and_know_no_size(name):
    torch.manual_seed(0)
    net = GENERATORS[name](3, 2).eval()
    for size in [(64, 64), (128, 128), (net.multiple * 2, net.multiple), (40, 72)]:
        assert net(torch.randn(1, 3, *size)).shape == (1, 2, *size)
    # A part of a picture is translated as in the whole, but for a margin; normalised, it would know the whole.
    net = GENERATORS[name](3, 2, norm="none").eval()
    x = torch.randn(1, 3, 160, 160)
    part, whole = net(x[..., 32:128, 32:128]), net(x)[..., 32:128, 32:128]
    middle = (..., slice(40, 56), slice(40, 56))
    torch.testing.assert_close(part[middle], whole[middle], rtol=1e-4, atol=1e-7)
    assert not torch.allclose(part, whole, rtol=1e-2)


def test_networks_for_256_run_at_512_and_beyond():
    with torch.device("meta"):
        for net in (UNet(3, 3), encoder_decoder(3, 3), ResNet(3, 3), ResNet(3, 3, blocks=6, upsampling="resize")):
            for size in [(256, 256), (512, 512), (1024, 768)]:
                assert net(torch.empty(1, 3, *size)).shape == (1, 3, *size)


def test_the_unet_takes_its_multiple_in_training_and_in_translation():
    torch.manual_seed(0)
    for norm in ("batch", "instance", "none"):
        net = UNet(1, 2, depth=4, width=4, norm=norm)
        x = torch.randn(1, 1, net.multiple, net.multiple)
        assert isinstance(net, Generator)
        assert net(x).isfinite().all()
        assert net.eval()(x).shape == (1, 2, 16, 16)
        assert net(x).std() > 0


def test_the_unet_does_not_bound_its_scores():
    net = UNet(3, 3, depth=2, width=4).eval()
    with torch.no_grad():
        net.decoder[-1].conv.bias.fill_(7)
    assert net(torch.zeros(1, 3, 8, 8)).mean() > 5


def test_dropout_is_in_the_first_three_blocks_and_never_in_the_last():
    for depth, dropped in [(8, 3), (5, 3), (3, 2), (1, 0)]:
        with torch.device("meta"):
            rates = [getattr(block.dropout, "p", 0.0) for block in UNet(3, 3, depth=depth, dropout=0.5).decoder]
        assert rates == [0.5] * dropped + [0.0] * (depth - dropped)
    with torch.device("meta"):
        net = UNet(3, 3, dropout=0.5, dropout_blocks=(2, 7))
    assert [getattr(block.dropout, "p", 0.0) for block in net.decoder] == [0.0, 0.5] + [0.0] * 4 + [0.5, 0.0]


@pytest.mark.parametrize("name", GENERATORS)
def test_dropout_is_noise_in_training_and_can_be_switched_on_for_translation(name):
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16)
    net = GENERATORS[name](3, 3)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    assert not torch.equal(net(x), net(x))
    assert not [key for key in net.state_dict() if "dropout" in key]


def test_weights_are_drawn_as_the_paper_says():
    torch.manual_seed(0)
    resized = UNet(3, 3, depth=3, width=32, upsampling="resize")
    for net in (UNet(3, 3, depth=4, width=32), resized, ResNet(3, 3, blocks=1, width=32), PatchGAN(3, width=32)):
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any(), name
            else:
                assert parameter.std().item() == pytest.approx(0.02, rel=0.35), name
                assert parameter.mean().item() == pytest.approx(float(parameter.dim() == 1), abs=0.01), name


def test_batch_normalisation_at_batch_1_is_instance_normalisation_to_the_last_bit():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 9, 5)
    batch, instance = normalisation("batch", 8), normalisation("instance", 8)
    for norm in (batch, instance):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, 8))
            norm.bias.copy_(torch.linspace(-1, 1, 8))
    expected = F.instance_norm(x, weight=batch.weight, bias=batch.bias)
    for norm in (batch.train(), batch.eval(), instance.train(), instance.eval()):
        assert torch.equal(norm(x), expected)


def test_batch_normalisation_mixes_the_batch_in_training_and_not_in_translation():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 6) * torch.tensor([1.0, 5.0, 9.0]).view(3, 1, 1, 1)
    norm = normalisation("batch", 4)
    torch.testing.assert_close(norm(x).std(dim=(0, 2, 3)), torch.ones(4), rtol=0, atol=0.01)
    assert not torch.allclose(norm(x)[:1], norm(x[:1]))
    norm.eval()
    torch.testing.assert_close(norm(x), torch.cat([norm(one) for one in x.split(1)]), rtol=0, atol=1e-6)
    assert not list(norm.buffers())


@pytest.mark.parametrize("over_batch", [False, True])
def test_a_single_value_passes_through_normalisation(over_batch):
    norm = ChannelNorm(3, over_batch=over_batch)
    x = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1)
    assert torch.equal(norm(x), x)
    assert torch.equal(norm.eval()(x.repeat(2, 1, 1, 1)), x.repeat(2, 1, 1, 1))


def seen_by_one_logit(net: PatchGAN, side: int) -> torch.Tensor:
    """Return which pixels of a picture side × side move the logit in the middle."""
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)  # all of one sign, so that no path cancels another
    x = torch.rand(1, 1, side, side).requires_grad_()
    (logits,) = net(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    return gradient[0, 0] != 0


@pytest.mark.parametrize("field", list(STRIDED))
def test_the_receptive_field_by_its_gradient(field):
    # Without normalisation, whose mean and variance are of the whole map: the convolutions alone are measured here.
    seen = seen_by_one_logit(PatchGAN(1, field=field, width=2, norm="none"), 640 if field == 286 else 384)
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert (len(rows), len(columns), seen.sum().item()) == (field, field, field**2)
    assert rows[-1] - rows[0] == columns[-1] - columns[0] == field - 1, "the field is one square, without gaps"


def test_normalisation_looks_beyond_the_receptive_field():
    torch.manual_seed(0)
    assert seen_by_one_logit(PatchGAN(1, field=16, width=2, norm="instance"), 64).sum() > 32**2


def test_the_discriminator_answers_with_a_list_and_refuses_what_it_cannot_see():
    net = PatchGAN(3, width=2)
    assert isinstance(net, Discriminator)
    assert [logits.shape for logits in net(torch.zeros(2, 3, 256, 128))] == [(2, 1, 30, 14)]
    assert net(torch.zeros(1, 3, 24, 24))[0].shape == (1, 1, 1, 1)
    with pytest.raises(UsageError, match=r"field of 70 needs pictures of at least 24 x 24 .* are 40 x 23"):
        net(torch.zeros(1, 3, 23, 40))
    assert PatchGAN(3, width=2, field=1)(torch.zeros(1, 3, 1, 1))[0].shape == (1, 1, 1, 1)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_networks_run_without_memory_in_bfloat16_and_as_one_graph(norm):
    with torch.device("meta"):
        x = torch.empty(2, 3, 32, 32)
        assert UNet(3, 2, depth=4, norm=norm)(x).shape == (2, 2, 32, 32)
        assert ResNet(3, 2, norm=norm)(x).shape == (2, 2, 32, 32)
        assert PatchGAN(3, norm=norm)(x)[0].device.type == "meta"
    x = torch.randn(2, 3, 16, 16)
    nets = [make(3, 2, norm=norm) for name, make in GENERATORS.items() if "encoder" not in name]
    for net in (*nets, PatchGAN(3, field=16, width=4, norm=norm)):
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x)
        y = y[0] if isinstance(y, list) else y
        assert y.dtype == torch.bfloat16
        y.float().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
        torch.export.export(net, (x,))  # raises on a branch that depends on the data


@pytest.mark.parametrize("name", ["unet", "resnet resize"])
def test_an_exported_generator_takes_other_sizes(name):
    torch.manual_seed(0)
    net = GENERATORS[name](3, 3).eval()
    free = torch.export.Dim.AUTO
    exported = torch.export.export(net, (torch.randn(1, 3, 32, 48),), dynamic_shapes=({2: free, 3: free},)).module()
    x = torch.randn(1, 3, 64, 40)
    torch.testing.assert_close(exported(x), net(x))


def test_dropout_in_blocks_that_are_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"names block 8, but a depth of 4 has the blocks 1 \.\.\. 3"):
        UNet(3, 3, depth=4, width=2, dropout_blocks=(2, 8))
    assert UNet(3, 3, depth=2, width=2).multiple == 4  # the default may name more than there are
