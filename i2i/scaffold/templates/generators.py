"""A generator that works on a folded picture, registered in pyproject.toml."""

from __future__ import annotations

import torch
from i2i.contracts import Count
from torch import Tensor, nn


class Placeholder(nn.Module):
    """Residual convolutions on pixels folded into channels (Shi et al. 2016, section 3.2), and unfolded at the end.

    x: N × in_channels × H × W, both sides divisible by `multiple` = fold, to raw scores N × out_channels × H × W. fold:
    the side of the squares of pixels that become channels. blocks: residual blocks. width: their feature maps.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, fold: Count = 2, blocks: Count = 4, width: Count = 32
    ) -> None:
        super().__init__()
        self.multiple = fold
        self.first = nn.Sequential(nn.PixelUnshuffle(fold), nn.Conv2d(in_channels * fold**2, width, 3, padding=1))
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.last = nn.Sequential(nn.Conv2d(width, out_channels * fold**2, 3, padding=1), nn.PixelShuffle(fold))

    def forward(self, x: Tensor) -> Tensor:
        """Map x to raw scores of the same size; the task bounds them."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(torch.relu(x))
        scores: Tensor = self.last(x)
        return scores
