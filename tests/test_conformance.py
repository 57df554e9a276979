"""Registered means tested: every part in the registry runs the checks of its kind."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i import images, plugins, testing

# Smaller than the defaults where those are heavy; required parameters where there are some.
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("generators", "encoder_decoder"): {"depth": 3, "width": 8},
    ("generators", "resnet"): {"blocks": 2, "width": 8},
    ("generators", "timm_unet"): {"backbone": "test_resnet", "weights": "random", "width": 4, "max_width": 16},
    ("generators", "unet"): {"depth": 3, "width": 8},
    ("discriminators", "timm_projected"): {"backbone": "test_resnet", "weights": "random", "width": 4},
    ("losses", "perceptual"): {"backbone": "test_resnet", "weights": "random", "layers": (0, 1), "distance": "l1"},
    ("methods", "pix2pix"): {},
    ("metrics", "fid"): {"features": "test_resnet", "weights": "random", "minimum": 2},
    ("metrics", "kid"): {"features": "test_resnet", "weights": "random", "minimum": 2},
    ("metrics", "lpips"): {"features": "test_resnet", "weights": "random"},
    ("metrics", "ms_ssim"): {"scales": 2},
    ("sources", "figures"): {"size": 32, "count": 3},
    ("sources", "scenes"): {"size": 32, "count": 3},
}
OWN = [
    (kind, name, check)
    for kind in plugins.kinds()
    if kind not in ("augmentations", "preparations")  # tests/test_augment.py goes through those by name
    for name in plugins.names(kind)
    if plugins.find(kind, name).package == "i2i"
    for check in testing.checks(kind)
]


@pytest.fixture(scope="module")
def photos() -> Any:
    """A folder that serves the sources that read files."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("A/1.png", "B/1.png", "A/2.png", "B/2.png"):
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            pixels = np.random.default_rng(len(name)).integers(0, 255, (24, 32, 3), dtype=np.uint8)
            images.write(path, pixels)
        yield Path(folder)


@pytest.mark.parametrize(("kind", "name", "check"), OWN, ids=lambda value: getattr(value, "__name__", str(value)))
def test_own_part(kind: str, name: str, check: Callable[[Any], None], photos: Path, scorer: Path) -> None:
    parameters = SMALL.get((kind, name), {})
    if name in ("fid", "kid"):
        pytest.importorskip("torchmetrics")
    if name == "fcn_score":
        parameters = {"scorer": scorer}
    if name in ("folder", "pairs"):
        parameters = {"root": photos}
    check(functools.partial(plugins.load(kind, name), **parameters))


def test_every_contract_kind_has_checks() -> None:
    for kind in ("generators", "discriminators", "losses", "adversarial", "tasks", "methods", "sources", "metrics"):
        assert len(testing.checks(kind)) > 1


def _swallow(**kwargs: int) -> None: ...


class NoGradient:
    """A loss that is deaf to the fake."""

    def __call__(self, fake: Any, real: Any) -> Any:
        return (real - real.mean()).square().mean() + 0 * fake.sum()


class Doubles:
    """A metric that depends on the batch split."""

    higher_is_better = True

    def __init__(self) -> None:
        self.values: list[Any] = []

    def update(self, fake: Any, real: Any, *, mask: Any = None, images: Any = None) -> None:
        self.values.append((fake - real).abs().max())

    def compute(self) -> Any:
        import torch

        return torch.stack(self.values).mean()


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("losses", _swallow, "swallowed in silence"),
        ("losses", NoGradient, "does not score better"),
        ("metrics", Doubles, "depends on the batch split"),
    ],
)
def test_a_part_that_breaks_its_contract_is_told_so(kind: str, part: Any, message: str) -> None:
    def all_checks() -> None:
        for check in testing.checks(kind):
            check(part)

    with pytest.raises(AssertionError, match=message):
        all_checks()
