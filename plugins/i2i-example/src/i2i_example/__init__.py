"""A loss and a generator that i2i finds by their entry points, and that know nothing of i2i."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Charbonnier:
    """sqrt(difference² + epsilon²), a smooth L1 (Charbonnier et al. 1994); fake, real: N × C × H × W to a scalar."""

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        self.epsilon = epsilon

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the mean over all values."""
        return ((fake - real).square() + self.epsilon**2).sqrt().mean() - self.epsilon


class Dilated(nn.Module):
    """Dilated convolutions at full resolution (Yu and Koltun 2016): N × in × H × W to raw scores N × out × H × W.

    Any height and width will do. depth: convolutions, each looking twice as far as the one before. width: feature maps.
    """

    def __init__(self, in_channels: int, out_channels: int, *, depth: int = 4, width: int = 16) -> None:
        super().__init__()
        channels = [in_channels, *[width] * depth]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, width, 3, padding=2**i, dilation=2**i) for i, before in enumerate(channels[:-1])
        )
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x to raw scores of the same size."""
        for layer in self.layers:
            x = torch.relu(layer(x))
        scores: Tensor = self.last(x)
        return scores
