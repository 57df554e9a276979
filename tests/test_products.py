"""Convolutions as products and channels last: the same answers and gradients, in anybody's network."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import TINY
from torch import Tensor, nn

from i2i import recipe
from i2i.compose import compose, forward, takes_channels_last
from i2i.engine import fit
from i2i.methods.pix2pix import Pix2Pix
from i2i.products import Fold, ProductConv2d, ProductConvTranspose2d, Unfold, lay_out, use_products
from i2i.train import batches, training_of

CPU = torch.device("cpu")
LAYERS = [
    nn.Conv2d(3, 100, 4, stride=2, padding=1),
    nn.Conv2d(3, 400, 3, padding=1, bias=False),
    nn.Conv2d(3, 100, (4, 2), stride=(2, 1), padding=(0, 1)),
    nn.Conv2d(3, 100, 4, stride=4),
    nn.Conv2d(3, 400, 1),
    nn.ConvTranspose2d(400, 5, 4, stride=2, padding=1),
    nn.ConvTranspose2d(400, 5, 3, padding=2, bias=False),
    nn.ConvTranspose2d(400, 5, (4, 2), stride=(2, 1), padding=(1, 0), output_padding=(1, 0)),
]
SIDES = [(8, 6), (5, 7), (4, 40)]


def as_product(layer: nn.Module) -> nn.Module:
    quick = nn.Sequential(copy.deepcopy(layer))
    lay_out(quick, torch.channels_last)
    use_products(quick)
    assert type(quick[0]) in (ProductConv2d, ProductConvTranspose2d)
    return quick


def folds(y: Tensor) -> bool:
    """Whether an answer came of a product."""
    names, left = set(), [y.grad_fn]
    while left:
        if node := left.pop():
            names.add(type(node).__name__)
            left += [below for below, _ in node.next_functions]
    return bool(names & {f"{function.__name__}Backward" for function in (Unfold, Fold)})


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_a_product_is_the_convolution(layer: nn.Module, sides: tuple[int, int]) -> None:
    quick = as_product(layer).double()
    layer = copy.deepcopy(layer).double()
    x = torch.randn(2, layer.in_channels, *sides, dtype=torch.float64)
    answers = []
    for net in (layer, quick):
        one = x.clone().requires_grad_()
        y = net(one)
        y.square().sum().backward()
        answers.append([y, one.grad, *(p.grad for p in net.parameters())])
    assert folds(answers[1][0])
    for slow, fast in zip(*answers, strict=True):
        torch.testing.assert_close(fast, slow)
    assert quick.state_dict().keys() == {f"0.{name}" for name in layer.state_dict()}


def test_a_map_larger_than_the_weights_is_convolved() -> None:
    conv, deconv = as_product(nn.Conv2d(1, 16, 3, padding=1)), as_product(nn.ConvTranspose2d(16, 1, 3, padding=1))
    map_of = partial(torch.randn, requires_grad=True)
    assert folds(conv(map_of(1, 1, 4, 4)))
    assert folds(deconv(map_of(1, 16, 4, 4)))
    assert not folds(conv(map_of(1, 1, 4, 5)))
    assert not folds(deconv(map_of(3, 16, 4, 4)))


def test_what_is_too_small_is_refused_as_ever() -> None:
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        as_product(nn.Conv2d(1, 99, 4))(torch.randn(1, 1, 3, 3))


def test_a_product_has_second_gradients() -> None:
    for layer in (nn.Conv2d(2, 9, 4, stride=2, padding=1), nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)):
        net = as_product(layer).double()
        x = torch.randn(1, layer.in_channels, 4, 4, dtype=torch.float64, requires_grad=True)
        assert folds(net(x))
        assert torch.autograd.gradgradcheck(net, x)


def test_few_rows_stay_in_float32_under_autocast_and_many_do_not() -> None:
    net = as_product(nn.Conv2d(4, 40, 4, stride=2, padding=1))
    with torch.autocast("cpu", torch.bfloat16):
        assert net(torch.randn(1, 4, 8, 8)).dtype == torch.float32
        assert net(torch.randn(2, 4, 8, 8)).dtype == torch.bfloat16


def test_what_differs_from_the_plain_layers_is_left_alone() -> None:
    class Own(nn.Conv2d):
        pass

    others = [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, stride=2),
        Own(4, 4, 3),
        torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
    ]
    before = [type(layer) for layer in others]
    use_products(nn.ModuleList(others))
    assert [type(layer) for layer in others] == before


def test_a_run_trains_laid_out() -> None:
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    training = training_of(compose(plan), CPU)
    assert training.layout == torch.channels_last
    kinds = {type(layer) for layer in training.method.modules()}
    assert {ProductConv2d, ProductConvTranspose2d} < kinds
    assert not {nn.Conv2d, nn.ConvTranspose2d} & kinds
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in training.method.parameters() if p.ndim == 4)


class Viewing(nn.Module):
    """A network that asks for a view, as attention often does: no map with its channels last has one."""

    multiple = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y.view(len(y), -1).view(y.shape)


def test_a_network_that_asks_for_views_keeps_its_layout() -> None:
    plan = recipe.parse(Path("tiny.toml"), TINY.encode(), ["train.steps=2"])
    assert takes_channels_last(compose(plan))
    viewing = compose(plan.__class__(**{**vars(plan), "method": partial(Pix2Pix, generator=Viewing)}))
    assert not takes_channels_last(viewing)
    training = training_of(viewing, CPU)
    assert training.layout == torch.contiguous_format
    assert len(list(fit(training, batches(viewing, CPU, 0)))) == 2


def test_a_network_that_asks_for_views_translates_all_the_same() -> None:
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    method = Pix2Pix(compose(plan).task, generator=Viewing).eval()
    x = torch.rand(2, 3, 8, 8)
    before = forward(method, x)
    lay_out(method, torch.channels_last)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        method.translate(x)
    torch.testing.assert_close(forward(method, x), before)
