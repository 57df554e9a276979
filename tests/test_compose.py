"""What a rehearsal finds before a run is begun."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import TINY
from torch import Tensor, nn

from i2i import recipe
from i2i.compose import compose, rehearse
from i2i.errors import PluginError


class Crops(nn.Module):
    """A generator that forgets its padding."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x)


class Counts(nn.Module):
    """A generator that looks at its numbers, and so cannot run without them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x) if x.mean().item() < 9 else x


def rehearsed(generator: type) -> None:
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    chosen = getattr(plan.method, "keywords", {}) | {"generator": generator}
    rehearse(compose(replace(plan, method=partial(getattr(plan.method, "func", plan.method), **chosen))))


def test_a_generator_that_changes_the_size_is_told_of() -> None:
    with pytest.raises(PluginError, match=r"Pix2Pix cannot make a step from 2 x 3 x 32 x 32 to 2 x 3 x 32 x 32: .*28"):
        rehearsed(Crops)


def test_a_generator_that_needs_numbers_passes() -> None:
    rehearsed(Counts)
