"""The task of cutting a subject out of its background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.contracts import Batch, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Matting:
    """Translate a `photo`, RGB in [0, 1], into its `alpha`: how much of each pixel is the subject, grey in [0, 1].

    What a translation writes is the photo with the alpha found as its fourth channel. Colours are the photo's own: at
    a soft edge they still hold some of the old background.
    """

    paired = True
    in_channels = 3
    out_channels = 1

    def __init__(self) -> None:
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3), "alpha": ImageSpec(1)}
        self.inputs: tuple[str, ...] = ("photo",)
        self.target = "alpha"

    def batch(self, images: Images) -> Batch:
        """Bring both pictures into network space."""
        return Batch(self.encode(images), images["alpha"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the photo into network space, N × 3 × H × W in [-1, 1]."""
        return images["photo"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring the alpha back to [0, 1], N × 1 × H × W."""
        return ((output + 1) / 2).clamp(0, 1)

    def present(self, decoded: Tensor, images: Images) -> Tensor:
        """Give the photo its alpha, N × 4 × H × W."""
        return torch.cat([images["photo"], decoded], 1)
