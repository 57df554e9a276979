"""Activation checkpointing: the same results for less memory, in anybody's networks."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY
from torch import Tensor, nn

from i2i import recipe
from i2i.compose import compose
from i2i.engine import fit
from i2i.errors import PluginError
from i2i.recompute import recompute
from i2i.train import batches, training_of

CPU = torch.device("cpu")
SMALL = 'generator={name="resnet", width=4, blocks=2, dropout=0.5}, discriminator={name="patch", field=16, width=4}'
METHODS = {
    "pix2pix": 'method.generator={name="unet", depth=3, width=4, dropout=0.5}',
    "wgan_gp": 'method={name="pix2pix", adversarial="wgan_gp", generator={name="resnet", width=4, blocks=2}, '
    'discriminator={name="patch", field=16, width=4, norm="none"}}',
    "timm": 'method.generator={name="timm_unet", weights="random", width=4}',
    "cyclegan": f'method={{name="cyclegan", pool=2, {SMALL}}}',
    "cut": f'method={{name="cut", patches=16, dim=8, {SMALL}}}',
    "fastcut": f'method={{name="fastcut", patches=16, dim=8, {SMALL}}}',
    "pix2pixhd": 'method={name="pix2pixhd", coarse_steps=3, frozen_steps=3, discriminator={name="multiscale", width=4, '
    'scales=2}, generator={name="pix2pixhd", width=4, halvings=2, blocks=2, enhancer_blocks=1}}',
    "pix2pixhd_wgan_gp": 'method={name="pix2pixhd", adversarial="wgan_gp", discriminator={name="multiscale", width=4, '
    'scales=2}, generator={name="pix2pixhd", width=4, halvings=2, blocks=2, enhancer_blocks=1}}',
    "spade": 'method={name="spade", discriminator={name="multiscale", width=4, scales=2}, '
    'generator={name="spade", width=2, hidden=4, doublings=4}}',
}
PACKAGES = {"cyclegan": "i2i_unpaired", "cut": "i2i_unpaired", "fastcut": "i2i_unpaired", "pix2pixhd": "i2i_hd"}
PACKAGES |= {"pix2pixhd_wgan_gp": "i2i_hd", "spade": "i2i_hd"}


def trained(method: str, again: bool, precision: str) -> tuple[list[dict[str, float]], dict[str, Tensor], int]:
    settings = [METHODS[method], f"train.activation_checkpointing={str(again).lower()}", "train.steps=10"]
    plan = recipe.parse(Path("tiny.toml"), TINY.encode(), [*settings, f'train.precision="{precision}"'])
    pipeline = compose(plan)
    training = training_of(pipeline, CPU)
    reports = [{k: float(v) for k, v in r.terms.items()} for r in fit(training, batches(pipeline, CPU, 0))]
    blocks = sum(hasattr(module, "recomputed") for module in pipeline.method.modules())
    return reports, training.tensors(), blocks


@pytest.mark.parametrize(
    ("method", "precision"), [*((method, "float32") for method in METHODS), ("pix2pix", "bf16"), ("pix2pixhd", "bf16")]
)
def test_ten_steps_are_the_same(method: str, precision: str) -> None:
    if method in PACKAGES:
        pytest.importorskip(PACKAGES[method])
    kept, state, none = trained(method, False, precision)
    again, other, blocks = trained(method, True, precision)
    assert again == kept
    assert other.keys() == state.keys()
    assert all(torch.equal(value, other[name]) for name, value in state.items())
    assert none == 0
    assert blocks > 0


class Block(nn.Module):
    """Counts how often it is run."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.runs = 0

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        self.runs += 1
        return self.layers(x) * scale


def convolution() -> nn.Module:
    return nn.Conv2d(2, 2, 3, padding=1)


def test_blocks_are_the_innermost_items_that_learn_and_hold_no_state() -> None:
    plain, inner = Block(convolution(), nn.ReLU()), Block(convolution())
    others: list[Any] = [
        convolution(),
        nn.Sequential(nn.ReLU()),
        Block(convolution()).requires_grad_(False),
        Block(convolution(), nn.BatchNorm2d(2)),
        nn.Sequential(nn.utils.parametrizations.spectral_norm(convolution())),
    ]
    network = nn.Sequential(plain, Block(nn.Sequential(inner)), *others)
    names, kinds = list(network.state_dict()), [type(other) for other in others]
    assert recompute(network) == 2
    kind = type(plain)
    assert recompute(network) == 2
    assert type(plain) is kind
    assert type(plain) is type(inner) is not Block
    assert isinstance(plain, Block)
    assert [type(other) for other in others] == kinds
    assert list(network.state_dict()) == names
    assert repr(plain).startswith("Block(")


def test_a_block_runs_twice_where_it_learns_and_once_where_it_does_not() -> None:
    network = nn.Sequential(Block(convolution(), nn.Dropout()))
    recompute(network)
    x = torch.randn(1, 2, 4, 4)
    network(x).sum().backward()
    assert network[0].runs == 2
    twin = copy.deepcopy(network).requires_grad_(False)
    with torch.no_grad():
        twin(x)
    assert (network[0].runs, twin[0].runs) == (2, 3)
    assert network[0](x, scale=0.0).abs().sum() == 0


def test_a_block_that_overwrites_its_input_is_refused_and_not_trained_wrongly() -> None:
    network = nn.Sequential(convolution(), Block(nn.ReLU(inplace=True), convolution()))
    recompute(network)
    with pytest.raises(PluginError, match="a block Block writes over its own input"):
        network(torch.randn(1, 2, 4, 4))
