"""The generator of SPADE, whose every normalisation is told by the label map what to make of each pixel."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.contracts import Count, Natural

WIDTHS = (16, 16, 16, 8, 4, 2, 1)
"""The width of what each residual block gives, in units of the last one's."""
DOUBLED = {4: (3, 4, 5, 6), 5: (1, 3, 4, 5, 6), 6: (1, 2, 3, 4, 5, 6)}
"""Before which blocks the maps are doubled, by the number of doublings."""
Norm = Literal["instance", "batch"]
"""Over what a generator takes the statistics of its feature maps: each picture by itself, or the batch."""
GRID = 8
"""The height and width of what a style code is unfolded to: the first maps of a picture of 256 × 256 (paper)."""


class SPADEGenerator(nn.Module):
    """Residual blocks from coarse to fine, the label map in each of them (Park et al. 2019, section 3).

    x: the label map, N × in_channels × H × W, one-hot; to raw scores N × out_channels × H × W. width: the feature maps
    at full size, 16 times as many at the coarsest. hidden: the feature maps between a label map and what it modulates.
    doublings: how often the maps are doubled on their way; both sides of x must divide by 2 ** doublings. The paper's 5
    are for 256 × 256, its 6 for 512 × 256.

    norm: "batch" is the paper's, for batches of several, and what styles need: their colours are means, which
    "instance" takes away.
    latent: how long a style code z is, from which, in the place of the label map, the coarsest maps are then made; the
    method `spade` sets it where a task gives a style.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Count = 64,
        hidden: Count = 128,
        doublings: Literal[4, 5, 6] = 5,
        norm: Norm = "instance",
        latent: Natural = 0,
    ) -> None:
        super().__init__()
        self.multiple = 2**doublings
        self.doubled = DOUBLED[doublings]
        self.latent = latent
        widths = [width * times for times in WIDTHS]
        self.start = nn.Linear(latent, widths[0] * GRID**2) if latent else _conv(in_channels, widths[0])
        self.blocks = nn.ModuleList(
            SPADEBlock(before, after, in_channels, hidden, norm) for before, after in pairwise([widths[0], *widths])
        )
        self.output = _conv(width, out_channels)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Map x to raw scores, in the style z, N × latent; none is that of z = 0."""
        y = self._coarsest(x, z)
        for place, block in enumerate(self.blocks):
            if place in self.doubled:
                y = F.interpolate(y, scale_factor=2)
            y = block(y, x)
        scores: Tensor = self.output(F.leaky_relu(y, 0.2))
        return scores

    def _coarsest(self, x: Tensor, z: Tensor | None) -> Tensor:
        height, width = x.shape[-2] // self.multiple, x.shape[-1] // self.multiple
        if not self.latent:
            y: Tensor = self.start(F.interpolate(x, (height, width)))
            return y
        z = x.new_zeros(len(x), self.latent) if z is None else z
        y = self.start(z).unflatten(1, (-1, GRID, GRID))
        # Pictures of another size than the paper's: a style has no place of its own.
        return y if y.shape[-2:] == (height, width) else F.interpolate(y, (height, width), mode="bilinear")


class SPADEBlock(nn.Module):
    """A residual block whose normalisations see the label map, N × before × H × W to N × after × H × W (Figure 4)."""

    def __init__(self, before: int, after: int, labels: int, hidden: int, norm: Norm) -> None:
        super().__init__()
        middle = min(before, after)
        self.norms = nn.ModuleList(AdaptiveNorm(width, labels, hidden, norm) for width in (before, middle))
        self.convs = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(before, middle, 3, padding=1)),
                spectral_norm(nn.Conv2d(middle, after, 3, padding=1)),
            ]
        )
        self.learnt_skip = before != after
        if self.learnt_skip:
            self.skip_norm = AdaptiveNorm(before, labels, hidden, norm)
            self.skip = spectral_norm(nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map feature maps x; labels: the label map of the full size."""
        labels = F.interpolate(labels, x.shape[-2:])
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(F.leaky_relu(norm(y, labels), 0.2))
        return y + (self.skip(self.skip_norm(x, labels)) if self.learnt_skip else x)


class AdaptiveNorm(nn.Module):
    """Normalise each channel, then scale and shift each pixel by what the label map says there (Park et al. 2019).

    Section 3, equations 1 to 3. The statistics are those of each picture by itself, or with norm = "batch" those of the
    batch while training and their running means when translating, as by the authors: a picture's own would take a
    style's colours away. Either way no translation depends on its neighbours.
    """

    def __init__(self, channels: int, labels: int, hidden: int, norm: Norm = "instance") -> None:
        super().__init__()
        self.over_batch = norm == "batch"
        self.plain = nn.BatchNorm2d(channels, affine=False) if self.over_batch else nn.InstanceNorm2d(channels)
        self.shared = _conv(labels, hidden)
        self.scale = _conv(hidden, channels)
        self.shift = _conv(hidden, channels)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map x, N × channels × H × W, and the label map, N × labels × H × W, to N × channels × H × W."""
        values = x.shape[-2] * x.shape[-1] * (len(x) if self.over_batch else 1)
        known = self.over_batch and not self.training
        plain = self.plain(x) if known or values > 1 else x  # one value has no statistics
        read = F.relu(self.shared(labels))
        y: Tensor = plain * (1 + self.scale(read)) + self.shift(read)
        return y


def _conv(before: int, after: int) -> nn.Conv2d:
    """Make a 3 × 3 convolution that begins near zero, as the authors' do (Glorot and Bengio 2010, with gain 0.02)."""
    conv = nn.Conv2d(before, after, 3, padding=1)
    nn.init.xavier_normal_(conv.weight, gain=0.02)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
