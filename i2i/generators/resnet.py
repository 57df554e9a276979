"""The residual generator of CycleGAN, with any number of blocks."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from i2i.contracts import Count, Probability
from i2i.nn import Norm, Upsampling, doubling, initialise, normalisation


class ResNet(nn.Module):
    """Two halvings, residual blocks, two doublings (Johnson et al. 2016, section 3.1; Zhu et al. 2017, appendix 7.2).

    x: N × in_channels × H × W, both sides divisible by 4, to raw scores N × out_channels × H × W: the paper's tanh is
    left to the task. In its notation c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1.

    blocks: 9 is the paper's number for 256 × 256 and above, 6 for 128 × 128. width: the feature maps at full size.
    norm: "instance" is the paper's. dropout: the share of values dropped in the middle of each block; the authors'
    option takes 0.5. downsampling: "strided" is the paper's. upsampling: "transposed" is the paper's 3 × 3 convolution,
    and the weights then have the names that they have in the authors' code; "resize" leaves no checkerboard. "blurred"
    and "bilinear" are the anti-aliased network of CUT (Park et al. 2020), after Zhang 2019, section 3.2.
    """

    multiple = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        blocks: Count = 9,
        width: Count = 64,
        norm: Norm = "instance",
        dropout: Probability = 0.0,
        downsampling: Literal["strided", "blurred"] = "strided",
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        bias = norm == "none"  # a shift just before a normalisation would be taken away again

        def step(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, normalisation(norm, channels), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [Reflection(3), *step(nn.Conv2d(in_channels, width, 7, bias=bias), width)]
        for wide in (width, 2 * width):
            stride = 2 if downsampling == "strided" else 1
            layers += step(nn.Conv2d(wide, 2 * wide, 3, stride=stride, padding=1, bias=bias), 2 * wide)
            if downsampling == "blurred":
                layers.append(blurred_halving())
        layers += [ResidualBlock(4 * width, norm, dropout) for _ in range(blocks)]
        for wide in (2 * width, width):
            layers += step(doubling(upsampling, 2 * wide, wide, kernel=3, bias=bias), wide)
        self.model = nn.Sequential(*layers, Reflection(3), nn.Conv2d(width, out_channels, 7))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, N × in_channels × H × W, to raw scores N × out_channels × H × W."""
        y: Tensor = self.model(x)
        return y


class ResidualBlock(nn.Module):
    """Add to x, N × channels × H × W, what two 3 × 3 convolutions make of it."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        bias = norm == "none"
        self.conv_block = nn.Sequential(
            Reflection(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(dropout)] if dropout else []),  # no empty place without: the names are the authors'
            Reflection(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map N × channels × H × W to the same shape."""
        y: Tensor = x + self.conv_block(x)
        return y


def blurred_halving() -> nn.Module:
    """Make the layer that blurs N × C × H × W by 1 2 1 both ways and takes every other value: two means of pairs."""
    return nn.Sequential(Reflection(1), nn.AvgPool2d(2, stride=1), nn.AvgPool2d(2))


class Reflection(nn.Module):
    """Pad N × C × H × W by reflection at its edges, and by repetition where a side is too short to be reflected."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Map N × C × H × W to N × C × (H + 2 padding) × (W + 2 padding)."""
        mode = "reflect" if min(x.shape[-2:]) > self.padding else "replicate"
        return F.pad(x, (self.padding,) * 4, mode)

    def extra_repr(self) -> str:
        """Name the padding."""
        return str(self.padding)
