"""The generator of pix2pixHD: a global generator at low resolution, and local enhancers around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from i2i.contracts import Count, Natural
from i2i.errors import UsageError
from i2i.nn import Norm, Upsampling, doubling, initialise, normalisation
from i2i_hd.multiscale import halved


class CoarseToFine(nn.Module):
    """A global generator in the middle of `enhancers` local ones (Wang et al. 2018, section 3.2 and appendix).

    x: N × in_channels × H × W to raw scores N × out_channels × H × W. In the paper's notation the global generator is
    c7s1-64, d128, d256, d512, d1024, R1024 × 9, u512, u256, u128, u64, and an enhancer c7s1-32, d64, R64 × 3, u32.

    width: the feature maps at full size, doubled for each enhancer further in. enhancers: how many; each doubles the
    size of what the global generator can do, and with 0 it is alone, where the paper's width is 64. halvings: those of
    the global generator. blocks, enhancer_blocks: the residual blocks of each. Both sides of x must divide by
    2 ** (halvings + enhancers).

    Trained coarse to fine (`begin_coarse`) it has an output layer more, and a buffer `refined` which says whether
    `forward` goes through the enhancers or, while these are untrained, enlarges the pictures of the global generator.
    """

    refined: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Count = 32,
        enhancers: Natural = 1,
        halvings: Count = 4,
        blocks: Natural = 9,
        enhancer_blocks: Natural = 3,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (halvings + enhancers)
        self.out_channels, self.inner = out_channels, width * 2**enhancers
        self.coarse_output: nn.Module | None = None
        bottom = self.inner * 2**halvings
        layers: list[nn.Module] = [_entrance(in_channels, self.inner, norm)]
        layers += [_halving(self.inner * 2**level, norm) for level in range(halvings)]
        layers += [Residual(bottom, norm) for _ in range(blocks)]
        layers += [_doubling(bottom // 2**level, norm, upsampling) for level in range(halvings)]
        self.globally = nn.Sequential(*layers)
        self.enhancers = nn.ModuleList(
            Enhancer(in_channels, width * 2**level, enhancer_blocks, norm, upsampling)
            for level in reversed(range(enhancers))
        )
        self.output = _exit(width, out_channels)
        initialise(self)

    def begin_coarse(self) -> None:
        """Become a global generator, whose enhancers come later; UsageError where there are none to come."""
        if not self.enhancers:
            raise UsageError("pix2pixhd: the generator has no enhancers, and cannot be trained coarse to fine")
        self.coarse_output = _exit(self.inner, self.out_channels)
        initialise(self.coarse_output)
        self.register_buffer("refined", torch.zeros((), dtype=torch.bool))

    def shrunk(self, x: Tensor) -> Tensor:
        """Bring N × C × H × W to the size at which the global generator works."""
        for _ in self.enhancers:
            x = halved(x)
        return x

    def coarse(self, x: Tensor) -> Tensor:
        """Map pictures of the global generator's size to raw scores of the same size, without the enhancers."""
        assert self.coarse_output is not None
        y: Tensor = self.coarse_output(self.globally(x))
        return y

    def fine(self, x: Tensor, *, frozen: bool = False) -> Tensor:
        """Map x to raw scores of its size through the enhancers; frozen: no gradient for the global generator."""
        pyramid = [x]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            y = self.globally(pyramid.pop())
        for enhancer in self.enhancers:
            y = enhancer(pyramid.pop(), y)
        scores: Tensor = self.output(y)
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """Map x, N × in_channels × H × W, to raw scores N × out_channels × H × W by what is trained so far."""
        # A meta tensor has no value to ask for; the enhancers are what costs most.
        if self.coarse_output is None or self.refined.is_meta or self.refined:
            return self.fine(x)
        return F.interpolate(self.coarse(self.shrunk(x)), x.shape[-2:], mode="bilinear")


class Enhancer(nn.Module):
    """Refine the feature maps of half the size by a look at the full size (Wang et al. 2018, section 3.2, Figure 3)."""

    def __init__(self, in_channels: int, width: int, blocks: int, norm: Norm, upsampling: Upsampling) -> None:
        super().__init__()
        self.down = nn.Sequential(_entrance(in_channels, width, norm), _halving(width, norm))
        residual = [Residual(2 * width, norm) for _ in range(blocks)]
        self.up = nn.Sequential(*residual, _doubling(2 * width, norm, upsampling))

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        """Map x, N × in_channels × H × W, and N × 2 width × H/2 × W/2 to N × width × H × W."""
        y: Tensor = self.up(self.down(x) + coarse)
        return y


class Residual(nn.Module):
    """Add to N × channels × H × W what two 3 × 3 convolutions make of it."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        first, second = (_step(nn.Conv2d(channels, channels, 3, bias=norm == "none"), norm) for _ in range(2))
        self.layers = nn.Sequential(Reflection(1), *first, nn.ReLU(inplace=True), Reflection(1), *second)

    def forward(self, x: Tensor) -> Tensor:
        """Map N × channels × H × W to the same shape."""
        y: Tensor = x + self.layers(x)
        return y


class Reflection(nn.Module):
    """Pad N × C × H × W by reflection at its edges, and by repetition where a side is too short to be reflected."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Map N × C × H × W to N × C × (H + 2 padding) × (W + 2 padding)."""
        return F.pad(x, (self.padding,) * 4, "reflect" if min(x.shape[-2:]) > self.padding else "replicate")


def _step(conv: nn.Conv2d, norm: Norm) -> list[nn.Module]:
    return [conv, normalisation(norm, conv.out_channels)]


def _entrance(in_channels: int, width: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, width, 7, bias=norm == "none")
    return nn.Sequential(Reflection(3), *_step(conv, norm), nn.ReLU(inplace=True))


def _halving(width: int, norm: Norm) -> nn.Sequential:
    conv = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=norm == "none")
    return nn.Sequential(*_step(conv, norm), nn.ReLU(inplace=True))


def _doubling(width: int, norm: Norm, upsampling: Upsampling) -> nn.Sequential:
    deconv = doubling(upsampling, width, width // 2, kernel=3, bias=norm == "none")
    return nn.Sequential(deconv, normalisation(norm, width // 2), nn.ReLU(inplace=True))


def _exit(width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(Reflection(3), nn.Conv2d(width, out_channels, 7))
