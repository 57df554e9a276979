"""A discriminator that looks at several scales, registered in pyproject.toml."""

from __future__ import annotations

from i2i.contracts import Count
from torch import Tensor, nn
from torch.nn import functional as F


class Placeholder(nn.Module):
    """The same small network at every scale, the picture halved in between (Wang et al. 2018, section 3.2).

    x: N × in_channels × H × W to a list of `scales` maps of logits, N × 1 × h × w. width: feature maps of the first
    layer, doubled at each of the `depth` halvings. The paper's other scales have weights of their own, as here.
    """

    def __init__(self, in_channels: int, *, scales: Count = 2, depth: Count = 2, width: Count = 32) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_layers(in_channels, depth, width) for _ in range(scales))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of every scale, the finest first: high where x looks real."""
        maps = []
        for scale in self.scales:
            maps.append(scale(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return maps


def _layers(in_channels: int, depth: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(in_channels, width * 2**i, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        in_channels = width * 2**i
    return nn.Sequential(*layers, nn.Conv2d(in_channels, 1, 3, padding=1))
