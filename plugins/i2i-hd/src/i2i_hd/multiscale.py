"""The discriminator that looks at a picture in several sizes."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from i2i.contracts import Count
from i2i.nn import Norm, initialise, normalisation


class Multiscale(nn.Module):
    """Patch discriminators of one build, each for half the size of the one before (Wang et al. 2018, section 3.2).

    The answer to N × in_channels × H × W, of any size, is a list of maps of logits N × 1 × h × w, that of the full size
    first. scales: how many. halvings: convolutions of stride 2 in each; with 3, both papers' number, a logit sees
    70 × 70 pixels of its own scale. width: the feature maps of the first layer, doubled up to eight times. spectral:
    spectral normalisation (Miyato et al. 2018) of all layers but the first and the last, beside `norm`, as the authors
    of SPADE have it, with scales = 2 (Park et al. 2019, section 4).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        scales: Count = 3,
        halvings: Count = 3,
        width: Count = 64,
        norm: Norm = "instance",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * min(2**layer, 8) for layer in range(halvings + 1)]
        self.scales = nn.ModuleList(_patches(in_channels, widths, norm, spectral) for _ in range(scales))

    def features(self, x: Tensor) -> list[list[Tensor]]:
        """Return for each scale the maps of its layers N × C × h × w, the logits last."""
        found = []
        for place, scale in enumerate(self.scales):
            x = halved(x) if place else x
            maps = [x]
            for layer in scale.children():
                maps.append(layer(maps[-1]))
            found.append(maps[1:])
        return found

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map x, N × in_channels × H × W, to its maps of logits."""
        return [maps[-1] for maps in self.features(x)]


def _patches(in_channels: int, widths: list[int], norm: Norm, spectral: bool) -> nn.ModuleList:
    """Make the layers of one scale; each pads by 2, so that no picture is too small."""
    first = nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=2)
    layers = nn.ModuleList([nn.Sequential(first, nn.LeakyReLU(0.2))])
    for place, (before, after) in enumerate(pairwise(widths), start=2):
        stride = 2 if place < len(widths) else 1
        conv = nn.Conv2d(before, after, 4, stride=stride, padding=2, bias=norm == "none")
        layers.append(nn.Sequential(conv, normalisation(norm, after), nn.LeakyReLU(0.2)))
    layers.append(nn.Conv2d(widths[-1], 1, 4, padding=2))
    initialise(layers)
    for layer in list(layers)[1:-1] if spectral else ():
        spectral_norm(layer[0])  # type: ignore[index]
    return layers


def halved(x: Tensor) -> Tensor:
    """Halve both sides of N × C × H × W, odd ones upwards, by means over 3 × 3; nothing beyond an edge counts."""
    return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
