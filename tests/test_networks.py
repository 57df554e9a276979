"""The built-in networks: their sizes are the paper's, and so is what they see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from i2i.contracts import Discriminator, Generator
from i2i.discriminators.patch import STRIDED, PatchGAN
from i2i.errors import UsageError
from i2i.generators.unet import UNet
from i2i.nn import ChannelNorm, normalisation


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
    return torch.cat([x, F.instance_norm(y, weight=up.norm.weight, bias=up.norm.bias)], 1) if level else y


@pytest.mark.parametrize("depth", [1, 2, 4, 5])
def test_the_unet_equals_the_authors_nested_form(depth):
    torch.manual_seed(0)
    net = UNet(3, 2, depth=depth, width=4, max_width=16).eval()
    x = torch.randn(2, 3, 64, 32)
    assert net.multiple == 2**depth
    torch.testing.assert_close(net(x), nested(net, x))


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
            rates = [block.dropout for block in UNet(3, 3, depth=depth, dropout=0.5).decoder]
        assert rates == [0.5] * dropped + [0.0] * (depth - dropped)


def test_dropout_is_noise_in_training_and_in_translation_only_when_asked():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16)
    net = UNet(3, 3, depth=3, width=4)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
    noisy = UNet(3, 3, depth=3, width=4, noise=True).eval()
    assert not torch.equal(noisy(x), noisy(x))


def test_weights_are_drawn_as_the_paper_says():
    torch.manual_seed(0)
    for net in (UNet(3, 3, depth=4, width=32), PatchGAN(3, width=32)):
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


@pytest.mark.parametrize("field", list(STRIDED))
def test_the_receptive_field_by_its_gradient(field):
    net = PatchGAN(1, field=field, width=2, norm="none")
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.5)  # all of one sign, so that no path cancels another
    side = 640 if field == 286 else 384
    x = torch.ones(1, 1, side, side, requires_grad=True)
    (logits,) = net(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    seen = gradient[0, 0] != 0
    assert (seen.any(0).sum().item(), seen.any(1).sum().item()) == (field, field)


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
        assert PatchGAN(3, norm=norm)(x)[0].device.type == "meta"
    x = torch.randn(2, 3, 16, 16)
    for net in (UNet(3, 2, depth=2, width=4, norm=norm), PatchGAN(3, field=16, width=4, norm=norm)):
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x)
        y = y[0] if isinstance(y, list) else y
        assert y.dtype == torch.bfloat16
        y.float().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
        torch.export.export(net, (x,))  # raises on a branch that depends on the data
