"""The task of making a photograph out of its edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from kornia.filters import canny
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec, Positive, Probability
from i2i.errors import DataError, UsageError

if TYPE_CHECKING:
    from i2i.contracts import Images


class Edges:
    """Translate a drawing of edges into a `photo`, RGB in [0, 1] (Isola et al. 2017, section 4, Fig. 1).

    The drawing is grey, N × 1 × H × W: dark lines on white, as from a pencil. Training makes it on the photo's device
    by Canny's detector (1986) without its hysteresis; a translation takes `edges` as they are given.

    sigma: how far the photo is blurred first, in pixels; the larger, the fewer lines. low, high: gradients of which a
    line becomes grey and black. width: of a line, in pixels.
    """

    paired = True
    in_channels = 1
    out_channels = 3

    def __init__(
        self, *, sigma: Positive = 1.5, low: Probability = 0.1, high: Probability = 0.25, width: Count = 1
    ) -> None:
        if low > high:
            raise UsageError(f"edges: 'low' is {low} and 'high' {high}: give the lower threshold first")
        self.sigma, self.low, self.high, self.width = sigma, low, high, width
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("edges",)
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Find the edges of the photo, the truth."""
        return Batch(self.encode(images), images["photo"] * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the edges, or those of the photo where none are given, into network space, N × 1 × H × W."""
        edges = images["edges"] if "edges" in images else self.draw(images["photo"])
        return edges * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Bring a translation back to [0, 1], N × 3 × H × W."""
        return ((output + 1) / 2).clamp(0, 1)

    def draw(self, photo: Tensor) -> Tensor:
        """Draw the edges of photos N × 3 × H × W, dark on white: N × 1 × H × W of 0, 0.5 and 1."""
        reach = max(1, round(2 * self.sigma))
        if min(photo.shape[-2:]) <= reach:
            raise DataError(
                f"edges: 'sigma' {self.sigma:g} blurs over {reach} pixels, and the photo has {photo.shape[-1]} x "
                f"{photo.shape[-2]}: choose a smaller one, or larger photos"
            )
        kernel = 2 * reach + 1
        _, lines = canny(photo, self.low, self.high, (kernel, kernel), (self.sigma, self.sigma), hysteresis=False)
        before, after = (self.width - 1) // 2, self.width // 2
        thick = F.max_pool2d(F.pad(lines, (before, after, before, after)), self.width, stride=1)
        return 1 - thick
