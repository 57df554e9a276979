"""A picture translated by tiles is the picture translated at once: same colours, no seam, in less memory."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import i2i
from i2i import images
from i2i.errors import UsageError
from i2i.folder import plan, translate_folder
from i2i.generators.resnet import ResNet
from i2i.generators.unet import UNet
from i2i.nn import ChannelNorm, moments
from i2i.tasks.inpainting import Inpainting
from i2i.tasks.paired import Paired
from i2i.tiles import OVERLAP, Statistics, Tiled, at_least, spans
from i2i.translate import Translator

CPU = torch.device("cpu")


class Method(nn.Module):
    """A method that is a generator and tanh."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.g = generator
        self.multiple = getattr(generator, "multiple", 1)

    def translate(self, x: Tensor) -> Tensor:
        y: Tensor = self.g(x)
        return y.tanh()


def model(generator: nn.Module, task: object = None) -> Translator:
    with torch.no_grad():
        for weight in generator.parameters():
            if weight.ndim > 1:  # large enough that statistics matter
                nn.init.kaiming_normal_(weight, 0.2)
    return Translator(task or Paired(), Method(generator).eval(), CPU)  # type: ignore[arg-type]


def uneven(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Draw a picture whose corners have neither brightness nor contrast in common."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width] / max(height, width)
    noise = draw.normal(size=(height // 4 + 1, width // 4 + 1, channels)).repeat(4, 0).repeat(4, 1)[:height, :width]
    picture = 0.2 + 0.6 * x[..., None] + (0.02 + 0.3 * y[..., None]) * noise
    return np.asarray((picture.clip(0, 1) * 255).astype(np.uint8))


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean absolute difference, in levels of 255."""
    return float(np.abs(one.astype(float) - other).mean())


NORMS: dict[str, Callable[[], nn.Module]] = {
    "instance": lambda: nn.InstanceNorm2d(8, affine=True),
    "group": lambda: nn.GroupNorm(2, 8),
    "layer": lambda: nn.GroupNorm(1, 8),
    "of the batch": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "channel": lambda: ChannelNorm(8),
    "pooled": lambda: Gated(),
}


class Gated(nn.Module):
    """Channels weighted by what the picture holds on the whole (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = nn.Conv2d(8, 8, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.ask(self.pool(x)) + x * self.ask(x.mean((2, 3), keepdim=True)).sigmoid()


def local(norm: Callable[[], nn.Module]) -> nn.Module:
    """A network of small reach, whose maps are normalised in turn."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), norm(), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norm(), nn.Conv2d(8, 3, 1)
    )


@pytest.mark.parametrize("large", [2**18, 1000])
@pytest.mark.parametrize("name", NORMS)
def test_what_is_normalised_by_the_whole_picture_comes_out_as_at_once(
    name: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2i.nn.LARGE", large)
    translator, picture = model(local(NORMS[name])), uneven(150, 203)
    whole = translator(picture)
    assert apart(translator(picture, tile=64, overlap=16), whole) < 0.01
    # The same tiles, each by its own statistics: what the complaint is about.
    own = np.concatenate([translator(np.ascontiguousarray(part)) for part in np.array_split(picture, 3)])
    assert apart(own, whole) > 1


@pytest.mark.parametrize(("height", "width"), [(256, 256), (131, 300), (64, 200)])
def test_networks_that_halve_and_double(height: int, width: int) -> None:
    """The ResNet sees 28 pixels to each side, of which three eighths of an overlap are to hold; the U-Net sees more."""
    for generator, tile, overlap, most in (
        (UNet(3, 3, depth=4, width=8, dropout=0), 128, 48, 1.0),
        (ResNet(3, 3, blocks=2, width=8), 128, 48, 1.0),
        (ResNet(3, 3, blocks=2, width=8), 192, 80, 0.01),
    ):
        torch.manual_seed(0)
        translator, picture = model(generator), uneven(height, width)
        assert apart(translator(picture, tile=tile, overlap=overlap), translator(picture)) < most


def test_indices_and_holes_and_deep_pictures() -> None:
    picture = uneven(90, 130)
    hole = np.zeros((90, 130), bool)
    hole[20:70, 30:100] = True
    torch.manual_seed(0)
    fills = model(nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), ChannelNorm(8), nn.Conv2d(8, 3, 1)), Inpainting())
    tiled = fills(picture, mask=hole, tile=64, overlap=16)
    assert apart(tiled, fills(picture, mask=hole)) < 0.01
    assert np.array_equal(tiled[~hole], picture[~hole])
    deep = model(local(NORMS["channel"]))
    whole, parts = (deep(picture.astype(np.uint16) * 257, **how) for how in ({}, {"tile": 64, "overlap": 16}))
    assert parts.dtype == np.uint16
    assert apart(parts, whole) < 2.57


def test_weights_add_up_to_one_and_tiles_lie_on_the_networks_grid() -> None:
    for side, tile, overlap, multiple in (
        (96, 32, 8, 8),
        (1024, 512, 64, 256),
        (40, 64, 8, 8),
        (203, 64, 63, 1),
        (72, 64, 0, 8),
    ):
        tile = at_least(tile, overlap, multiple)
        total = torch.zeros(side)
        axis = spans(side, tile, overlap, multiple)
        for span in axis:
            assert span.start % multiple == 0
            total[span.start : span.start + len(span.weights)] += span.weights
        assert torch.allclose(total, torch.ones(side), atol=1e-5)
        assert axis[-1].start + len(axis[-1].weights) == side
        assert all(b.start <= a.start + tile - min(overlap, tile - multiple) for a, b in pairwise(axis))


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).view_as(x)


class Weighs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / x.amax((2, 3), keepdim=True)


@pytest.mark.parametrize("glance", [Attends(), Weighs(), nn.AdaptiveMaxPool2d(1)])
def test_what_looks_over_the_whole_picture_is_told_by_name(glance: nn.Module) -> None:
    translator = model(nn.Sequential(nn.Conv2d(3, 3, 1), glance))
    named = re.escape(f"{type(glance).__name__} (g.1) looks over the whole picture")
    with pytest.raises(UsageError, match=named):
        translator(uneven(100, 100), tile=48, overlap=8)


def test_no_more_than_a_tile_goes_through_the_network() -> None:
    seen: list[int] = []

    class Sees(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(max(x.shape[2:]))
            return super().forward(x)

    translator = model(Sees(3, 3, 3, padding=1))
    for side in (100, 300):
        translator(uneven(side, side), tile=64, overlap=8)
    assert max(seen) == 64
    seen.clear()
    translator(uneven(60, 64), tile=64, overlap=8)  # no larger than the tile
    assert seen == [64]


def test_statistics_concern_their_own_thread_alone_and_leave_nothing() -> None:
    norm, x = nn.InstanceNorm2d(3), torch.rand(1, 3, 8, 8)
    before = norm(x)
    with Statistics(norm, [(torch.zeros(3), torch.ones(3))]):
        assert torch.allclose(norm(x), x, atol=1e-4)
    assert torch.equal(norm(x), before)


class Small(nn.Conv2d):
    """Memory that does not hold more than so many pixels."""

    def forward(self, x: Tensor) -> Tensor:
        if x[0, 0].numel() > 150**2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return super().forward(x)


def test_what_memory_does_not_hold_goes_by_tiles_and_that_is_told(tmp_path: Path) -> None:
    picture = uneven(300, 280)
    torch.manual_seed(0)
    net = nn.Sequential(Small(3, 8, 3, padding=1), ChannelNorm(8), nn.Conv2d(8, 3, 1))
    translator = model(net)
    told = "memory ran out on a picture of 280x300 pixels: translated in tiles of 128"
    with pytest.warns(UserWarning, match=told):
        made = translator(picture)
    net[0].__class__ = nn.Conv2d
    assert apart(made, translator(picture)) < 0.05
    net[0].__class__ = Small
    for name in ("a", "b"):
        images.write(tmp_path / "in" / f"{name}.png", picture)
    said: list[str] = []
    results = list(translate_folder(translator, plan(tmp_path / "in", tmp_path / "out"), say=said.append))
    assert [error for _, error in results] == [None, None]
    assert said == [told] * 2
    assert np.array_equal(images.read(tmp_path / "out" / "b.png").pixels, made)


def test_a_folder_by_tiles(tmp_path: Path) -> None:
    translator = model(local(NORMS["channel"]))
    for name, side in {"large": 150, "small": 40, "other": 90}.items():
        images.write(tmp_path / "in" / f"{name}.png", uneven(side, side))
    results = list(translate_folder(translator, plan(tmp_path / "in", tmp_path / "out"), cut=(64, 16)))
    assert [error for _, error in results] == [None] * 3
    for item, _ in results:
        assert apart(images.read(item.target).pixels, translator(images.read(item.source).pixels)) < 0.05


def test_sums_of_a_large_map_lose_no_digit() -> None:
    x = (torch.rand(1, 2, 600, 700) + 1).contiguous(memory_format=torch.channels_last)
    exact = x.double()
    mean, var = moments(x)
    assert torch.allclose(mean.double(), exact.mean((0, 2, 3)), rtol=1e-6)
    assert torch.allclose(var.double(), exact.var((0, 2, 3), correction=0), rtol=1e-5)
    y = ChannelNorm(2).eval()(x).double()
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    half = torch.zeros(600, 700)
    half[:300] = 1
    assert torch.allclose(moments(x, half)[0].double(), exact[:, :, :300].mean((0, 2, 3)), rtol=1e-5)


def test_the_command_says_what_tiles_may_be(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = run("translate", tmp_path, tmp_path / "out", "--tile", 64, "--overlap", 64)
    assert code == 2
    assert "--overlap 64: must be in 0 ... 63" in err
    code, _, err = run("translate", tmp_path, tmp_path / "out", "--tile", 8)
    assert code == 2
    assert "--tile 8: must be at least 32" in err
    assert OVERLAP == 64
    assert i2i.load is not None
    assert Tiled is not None


def test_how_far_a_picture_is_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i.tiles.TOLD_EVERY", -1)
    told: list[str] = []
    Tiled(
        model(ResNet(3, 3, width=4, blocks=1)), images.Picture(uneven(90, 130)), tile=64, overlap=16, say=told.append
    ).translate()
    shares = [int(text.removesuffix("% done")) for text in told]
    assert shares == sorted(shares)
    assert len(shares) > 20 and shares[0] <= 2 and shares[-1] == 100
