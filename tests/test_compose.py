"""What is said of a stranger's generator that does not fit, and that one which needs numbers is not refused."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import TINY
from rich.console import Console
from torch import Tensor, nn

from i2i import recipe, train
from i2i.check import summarise
from i2i.compose import compose, rehearse
from i2i.display import TrainDisplay
from i2i.errors import PluginError, UsageError
from i2i.recipe import Recipe


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


@pytest.fixture
def plan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A tiny recipe with a stranger's generator, which no package registers here."""
    monkeypatch.setattr("i2i.build.describe", lambda kind, part: {"name": str(part)})
    plan = recipe.parse(Path("tiny.toml"), TINY.encode())
    return replace(plan, method=partial(plan.method, generator=request.param))


@pytest.mark.parametrize("plan", [Counts], indirect=True)
def test_a_generator_that_needs_numbers_trains(plan: Recipe, tmp_path: Path) -> None:
    rehearse(compose(plan))
    assert "_local_scalar_dense" in (unknown := summarise(compose(plan), "cpu").unknown)
    assert "test_compose.py" in unknown
    with TrainDisplay(Console(quiet=True)) as display:
        assert train.start(plan, runs=tmp_path, device="cpu", display=display).finished


@pytest.mark.parametrize("plan", [Crops], indirect=True)
def test_a_generator_that_changes_the_size_is_a_plugin_that_fails(plan: Recipe, tmp_path: Path) -> None:
    sentence = r"with the generator Crops translates 2 x 3 x 32 x 32 into 2 x 3 x 28 x 28, where 2 x 3 x 32 x 32"
    with pytest.raises(PluginError, match=sentence):
        summarise(compose(plan), "cpu")
    with TrainDisplay(Console(quiet=True)) as display, pytest.raises(PluginError, match=sentence):
        train.start(plan, runs=tmp_path, device="cpu", display=display)


def test_what_needs_pairs_is_told_that_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from i2i.sources.scenes import Scenes

    monkeypatch.setattr(Scenes, "paired", False, raising=False)
    plan = recipe.parse(Path("tiny.toml"), TINY.encode(), ['metrics=["l1", "lab_histogram", "psnr"]'])
    with pytest.raises(UsageError) as error:
        compose(plan)
    lines = sorted(str(error.value).splitlines())
    assert len(lines) == 3
    assert all("of one scene" in line for line in lines)
    assert [key in "".join(lines) for key in ("metrics.0:", "metrics.1:", "metrics.2:", "source:")] == [1, 0, 1, 1]
