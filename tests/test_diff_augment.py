"""Differentiable augmentation: what each change does to which channels, and that a generator learns through it."""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY
from rich.console import Console
from torch import Tensor, nn

from i2i import recipe, train
from i2i.contracts import Discriminator
from i2i.discriminators.diff_augment import DiffAugment, color, cutout, translation
from i2i.discriminators.patch import PatchGAN
from i2i.discriminators.timm_projected import TimmProjected
from i2i.display import TrainDisplay
from i2i.errors import UsageError
from i2i.generators.timm_unet import TimmUNet
from i2i.losses.sum import Sum

Small = partial(PatchGAN, field=16, width=4)


class Layered(nn.Module):
    """A discriminator with feature maps, which are its input and twice that."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> list[Tensor]:
        return [maps[-1] for maps in self.features(x)]

    def features(self, x: Tensor) -> list[list[Tensor]]:
        return [[x, 2 * x]]


def changed(policy: tuple[Any, ...], x: Tensor, seed: int = 0, **options: Any) -> Tensor:
    torch.manual_seed(seed)
    return DiffAugment(x.shape[1], discriminator=Small, policy=policy, **options).train().augment(x)


def test_colour_moves_within_its_bounds_and_leaves_the_labels_alone() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 5, 16, 16) * 2 - 1
    y = changed(("color",), x)
    assert torch.equal(y[:, :2], x[:, :2])
    assert (y[:, 2:] != x[:, 2:]).float().mean() > 0.99
    assert not (changed(("color",), x, pictures=5)[:, :2] == x[:, :2]).any()
    # Brightness moves the mean of each picture by up to 0.5, saturation and contrast leave it.
    torch.manual_seed(1)
    many = torch.rand(1, 3, 8, 8).expand(500, 3, 8, 8)
    moved = (color(many) - many).mean((1, 2, 3))
    assert -0.5 <= moved.min() < -0.45 and 0.45 < moved.max() <= 0.5
    grey = many[:, :1].expand(500, 3, 8, 8)
    assert not torch.equal(color(grey), color(grey)), "each call draws anew"
    other = color(grey)
    assert torch.allclose(other[:, 0], other[:, 2], atol=1e-5), "grey stays grey"
    scale = (other[:, 0].flatten(1).std(1) / grey[:, 0].flatten(1).std(1)).sort().values
    assert 0.5 <= scale[0] < 0.52 and 1.48 < scale[-1] <= 1.5 + 1e-4


def test_translation_moves_all_channels_alike_by_up_to_an_eighth() -> None:
    x = torch.arange(1.0, 16 * 24 + 1).view(1, 1, 16, 24).expand(300, 2, 16, 24)
    torch.manual_seed(0)
    y = translation(x)
    assert torch.equal(y[:, 0], y[:, 1])
    shifts = set()
    for one in y[:, 0]:
        inside = one.nonzero()
        row, column = inside[0].tolist()
        value = int(one[row, column]) - 1
        shift = (row - value // 24, column - value % 24)
        shifts.add(shift)
        rolled = torch.roll(x[0, 0], shift, (0, 1))
        assert torch.equal(one[one != 0], rolled[one != 0])
        assert len(inside) == (16 - abs(shift[0])) * (24 - abs(shift[1])), "the rest is 0"
    assert shifts == {(i, j) for i in range(-2, 3) for j in range(-3, 4)}


def test_cutout_hides_half_a_side_around_any_pixel() -> None:
    x = torch.ones(400, 2, 16, 24)
    torch.manual_seed(0)
    y = cutout(x)
    assert torch.equal(y[:, 0], y[:, 1])
    hidden = y[:, 0] == 0
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns), "one rectangle"
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 8, 6, 12)
    assert hidden.any(0).all()


def test_the_same_numbers_are_drawn_again_and_others_for_each_picture() -> None:
    x = torch.rand(1, 6, 16, 16).expand(4, 6, 16, 16) * 2 - 1
    policy = ("color", "translation", "cutout")
    one, again, other = (changed(policy, x, seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert all(not torch.equal(one[0], one[i]) for i in (1, 2, 3))
    assert torch.equal(changed((), x), x)


def test_the_gradient_is_that_of_the_change() -> None:
    torch.manual_seed(0)
    net = DiffAugment(6, discriminator=Small)
    x = (torch.rand(2, 6, 16, 16, dtype=torch.float64) * 2 - 1).requires_grad_()

    def augmented(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return net.augment(x)

    assert torch.autograd.gradcheck(augmented, x, fast_mode=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert net.augment(x.detach().bfloat16()).dtype == torch.bfloat16
        assert net(x.detach().float())[0].isfinite().all()


def test_it_is_a_discriminator_that_judges_as_the_wrapped_one_where_nothing_is_trained() -> None:
    torch.manual_seed(0)
    net = DiffAugment(6, discriminator=Small)
    assert isinstance(net, Discriminator)
    x = torch.rand(2, 6, 32, 32)
    assert not torch.equal(net(x)[0], net(x)[0])
    net.eval()
    assert torch.equal(net(x)[0], net.discriminator(x)[0])
    with pytest.raises(UsageError, match="the last 3 of 2 channels: set 'pictures'"):
        DiffAugment(2)
    with torch.device("meta"):
        assert DiffAugment(6)(torch.empty(2, 6, 64, 64))[0].device.type == "meta"


def test_features_are_there_where_the_wrapped_one_has_them_and_can_be_compared() -> None:
    assert not hasattr(DiffAugment(6, discriminator=Small), "features")
    net = DiffAugment(3, discriminator=Layered)
    x = torch.rand(2, 3, 32, 32)
    one, other = net.features(x), net.features(x)
    assert torch.equal(one[0][0], other[0][0]), "asked one after the other, they are changed alike"
    assert not torch.equal(one[0][0], x)
    torch.rand(1)
    assert not torch.equal(net.features(x)[0][0], one[0][0])
    assert torch.equal(net.eval().features(x)[0][1], 2 * x)


def test_a_gan_trains_with_it(tmp_path: Path) -> None:
    judge = 'method.discriminator={name="diff_augment", discriminator={name="patch", field=16, width=4}}'
    logs = []
    for settings in ([judge, "train.steps=3"], ["train.steps=3"]):
        plan = recipe.parse(Path("tiny.toml"), TINY.encode(), settings)
        with TrainDisplay(Console(quiet=True)) as display:
            logs.append(train.start(plan, runs=tmp_path, device="cpu", display=display).read_log())
    assert [entry["step"] for entry in logs[0]] == [1, 2, 3]
    assert logs[0][0]["g/reconstruction"] == logs[1][0]["g/reconstruction"]
    assert logs[0][0]["d/adversarial"] != logs[1][0]["d/adversarial"]


@pytest.mark.parametrize("part", [DiffAugment, Sum, TimmProjected, TimmUNet])
def test_the_recipe_in_the_docstring_fits(part: Any) -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", part.__doc__ or "", re.DOTALL)
    given = tomllib.loads(re.sub(r"^ {4}", "", written, flags=re.MULTILINE))["method"]
    plan = recipe.parse(
        Path("tiny.toml"), TINY.encode(), [f"method.{key}={_toml(value)}" for key, value in given.items()]
    )
    described = plan.resolved()["method"]
    for key, value in given.items():
        assert not isinstance(value, dict) or described[key]["name"] == value["name"]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
