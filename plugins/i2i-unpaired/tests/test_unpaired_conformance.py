"""Every part of the package runs the checks of its kind, as small as its parameters allow."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from i2i_unpaired.cut import CUT, fastcut
from i2i_unpaired.cyclegan import CycleGAN
from i2i_unpaired.folders import UnpairedFolders
from i2i_unpaired.halves import UnpairedOf
from i2i_unpaired.task import Unpaired

from i2i import images, testing
from i2i.discriminators.patch import PatchGAN
from i2i.generators.resnet import ResNet
from i2i.sources.scenes import Scenes

SMALL = {
    "generator": functools.partial(ResNet, blocks=2, width=4),
    "discriminator": functools.partial(PatchGAN, field=16, width=4),
}


@pytest.mark.parametrize("check", testing.checks("methods"))
@pytest.mark.parametrize("method", [CycleGAN, CUT, fastcut])
def test_method(method: Any, check: Callable[[Any], None]) -> None:
    check(functools.partial(method, **SMALL))


@pytest.mark.parametrize("check", testing.checks("tasks"))
def test_task(check: Callable[[Any], None]) -> None:
    check(Unpaired)
    check(functools.partial(Unpaired, channels=1, to="a"))


@pytest.fixture
def sets(tmp_path: Path) -> Iterator[Path]:
    """Three pictures of A and two of B, of different sizes."""
    draw = np.random.default_rng(0)
    for name, height in (("trainA/1", 8), ("trainA/2", 12), ("trainA/x/3", 8), ("trainB/1", 8), ("trainB/9", 6)):
        images.write(tmp_path / f"{name}.png", draw.integers(0, 255, (height, 10, 3), dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("check", testing.checks("sources"))
def test_sources(check: Callable[[Any], None], sets: Path) -> None:
    check(functools.partial(UnpairedFolders, root=sets))
    check(functools.partial(UnpairedOf, source=functools.partial(Scenes, size=16, count=4)))
