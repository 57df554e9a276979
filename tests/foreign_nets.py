"""The generators of pytorch-CycleGAN-and-pix2pix and of CUT, written anew from their keys, shapes and papers.

Stock modules in the nesting that gives the authors' keys: what is imported is compared with them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalisation(norm: str, channels: int) -> nn.Module:
    """Make one by name; "old" is "instance" as in 2018, with running statistics in the file that nothing reads."""
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, track_running_stats=norm == "old")


class Level(nn.Module):
    """One level of the U-Net, around the next; without `within` the bottleneck, with `given` channels the outermost."""

    def __init__(
        self, outer: int, inner: int, norm: str, *, within: nn.Module | None, given: int = 0, dropout: bool = False
    ) -> None:
        super().__init__()
        self.outermost = bool(given)
        bias = norm in ("instance", "old")
        down = nn.Conv2d(given or outer, inner, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(2 * inner if within else inner, outer, 4, 2, 1, bias=bias or self.outermost)
        layers: list[nn.Module] = [down]
        if not self.outermost:
            layers.insert(0, nn.LeakyReLU(0.2))
        if within:
            layers += [within] if self.outermost else [normalisation(norm, inner), within]
        layers += [nn.ReLU(), up, nn.Tanh() if self.outermost else normalisation(norm, outer)]
        if dropout:
            layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y if self.outermost else torch.cat([x, y], 1)


def unet(
    channels: tuple[int, int] = (3, 3), *, depth: int = 8, width: int = 64, norm: str = "batch", dropout: bool = False
) -> nn.Module:
    """`depth` from 5: between the bottleneck and the first four levels lie those that may have dropout."""
    level: nn.Module | None = None
    for number in range(depth - 1, 0, -1):
        outer, inner = (width * min(2**n, 8) for n in (number - 1, number))
        level = Level(outer, inner, norm, within=level, dropout=dropout and 4 <= number < depth - 1)
    assert level is not None
    return nn.ModuleDict({"model": Level(channels[1], width, norm, within=level, given=channels[0])})


class Residual(nn.Module):
    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = norm in ("instance", "old")
        layers: list[nn.Module] = []
        for last in (False, True):
            conv = nn.Conv2d(channels, channels, 3, bias=bias)
            layers += [nn.ReflectionPad2d(1), conv, normalisation(norm, channels)]
            if not last:
                layers += [nn.ReLU(), nn.Dropout(0.5)] if dropout else [nn.ReLU()]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_block(x)
        return y


class Blur(nn.Module):
    """Halve by the filter 1 2 1, or double by 1 3 3 1, one channel at a time; the filter is a buffer."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0] if up else [1.0, 2.0, 1.0])
        self.register_buffer("filt", (taps.outer(taps) / 16).expand(channels, 1, -1, -1).clone())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.get_buffer("filt")
        if not self.up:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), weight, stride=2, groups=len(weight))
        padded = F.pad(x, (1, 1, 1, 1), "replicate")
        return F.conv_transpose2d(padded, weight, stride=2, padding=2, groups=len(weight))[:, :, 1:-1, 1:-1]


def resnet(
    channels: tuple[int, int] = (3, 3),
    *,
    blocks: int = 9,
    width: int = 64,
    norm: str = "instance",
    dropout: bool = False,
    blurred: tuple[bool, bool] = (False, False),
) -> nn.Module:
    """`blurred`: CUT's anti-aliasing, on the way down and on the way up."""
    bias = norm in ("instance", "old")

    def normed(conv: nn.Module, wide: int) -> list[nn.Module]:
        return [conv, normalisation(norm, wide), nn.ReLU()]

    layers = [nn.ReflectionPad2d(3), *normed(nn.Conv2d(channels[0], width, 7, bias=bias), width)]
    for wide in (2 * width, 4 * width):
        stride = 1 if blurred[0] else 2
        layers += normed(nn.Conv2d(wide // 2, wide, 3, stride, 1, bias=bias), wide)
        layers += [Blur(wide, up=False)] if blurred[0] else []
    layers += [Residual(4 * width, norm, dropout) for _ in range(blocks)]
    for wide in (2 * width, width):
        if blurred[1]:
            layers += [Blur(2 * wide, up=True), *normed(nn.Conv2d(2 * wide, wide, 3, 1, 1, bias=bias), wide)]
        else:
            layers += normed(nn.ConvTranspose2d(2 * wide, wide, 3, 2, 1, 1, bias=bias), wide)
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels[1], 7), nn.Tanh()]
    return nn.ModuleDict({"model": nn.Sequential(*layers)})


def shaken(net: nn.Module) -> nn.Module:
    """Give every normalisation numbers of its own, and the whole a signal that is neither faint nor saturated."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, (2 / module.weight[0].numel()) ** 0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.3)
        for buffer in (module.get_buffer(name) for name in ("running_mean", "running_var") if hasattr(module, name)):
            if buffer is not None:
                nn.init.uniform_(buffer, 1, 2)
    return net


def translated(net: nn.Module, x: Tensor, *, noise: bool = False) -> Tensor:
    """Map N × C × H × W in [-1, 1] picture by picture, as the authors' test mode does: not by running statistics.

    noise: keep the dropout, which is that mode's default too.
    """
    net.train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train(noise)
    with torch.no_grad():
        return torch.cat([net["model"](one) for one in x.split(1)])  # type: ignore[index]
