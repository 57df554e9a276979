"""Convolutions as products: the same answers and gradients, in anybody's network, at any geometry."""

import copy

import pytest
import torch
from conftest import TINY
from torch import nn

from i2i import products, recipe
from i2i.compose import compose
from i2i.engine import Training, fit
from i2i.products import ProductConv2d, ProductConvTranspose2d, use_products
from i2i.train import batches

LAYERS = [
    nn.Conv2d(3, 5, 4, stride=2, padding=1),
    nn.Conv2d(3, 5, 3, padding=1, bias=False),
    nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
    nn.Conv2d(3, 5, 1),
    nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1),
    nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1, bias=False),
    nn.ConvTranspose2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("sides", [(8, 6), (5, 7), (4, 40)])
def test_a_product_is_the_convolution(layer: nn.Module, sides: tuple[int, int]) -> None:
    quick = nn.Sequential(copy.deepcopy(layer))
    use_products(quick)
    assert type(quick[0]) in (ProductConv2d, ProductConvTranspose2d)
    x = torch.randn(2, 3, *sides, dtype=torch.float64)
    answers = []
    for net in (layer, quick):
        net.double().zero_grad()
        one = x.clone().requires_grad_()
        y = net(one)
        y.square().sum().backward()
        answers.append([y, one.grad, *(p.grad for p in net.parameters())])
    for slow, fast in zip(*answers, strict=True):
        torch.testing.assert_close(fast, slow)
    assert quick.state_dict().keys() == {f"0.{name}" for name in layer.state_dict()}


def test_a_product_has_second_gradients() -> None:
    for layer in (nn.Conv2d(2, 3, 4, stride=2, padding=1), nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)):
        net = nn.Sequential(layer.double())
        use_products(net)
        assert torch.autograd.gradgradcheck(net, torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True))


def test_few_rows_stay_in_float32_under_autocast_and_many_do_not() -> None:
    net = nn.Conv2d(4, 4, 4, stride=2, padding=1)
    use_products(net)
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
        Own(4, 4, 3),
        torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
    ]
    before = [type(layer) for layer in others]
    use_products(nn.ModuleList(others))
    assert [type(layer) for layer in others] == before


def test_ten_steps_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    plan = recipe.parse(Path("tiny.toml"), TINY.encode(), ["train.steps=10"])
    outcomes = []
    for quick in (False, True):
        pipeline = compose(plan)
        if quick:
            use_products(pipeline.method)
        training = Training(pipeline.method, plan.optimizer_of, steps=10)
        outcomes.append([{k: float(v) for k, v in r.terms.items()} for r in fit(training, batches(pipeline, CPU, 0))])
    assert products.SMALL >= 16 * 16  # the inner maps of the tiny net
    for slow, fast in zip(*outcomes, strict=True):
        assert fast == pytest.approx(slow, rel=1e-5)
    assert outcomes[0] != outcomes[1]  # it was another way that led there


CPU = torch.device("cpu")
