"""The task of finding a photograph's dominant colours, and what else is known of palettes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec
from i2i.errors import DataError
from i2i.tasks.lab import to_lab, to_rgb

if TYPE_CHECKING:
    from i2i.contracts import Images

SIDE = 32
"""Colours are looked for in pictures of at most this size: a palette has no use for more."""
ROUNDS = 10


class Palette:
    """Translate a `photo`, RGB in [0, 1], into its `palette`: swatches of its dominant colours, from dark to light.

    The swatches are upright bands of equal width in a picture as large as the photo; the truth is made on the photo's
    device by k-means in CIE Lab. colours: how many.
    """

    paired = True
    in_channels = 3
    out_channels = 3

    def __init__(self, *, colours: Count = 5) -> None:
        self.colours = colours
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("photo",)
        self.target = "palette"

    def batch(self, images: Images) -> Batch:
        """Find the dominant colours, the truth."""
        photo = images["photo"]
        return Batch(self.encode(images), paint(dominant_colours(photo, self.colours), photo.shape[-2:]) * 2 - 1)

    def encode(self, images: Images) -> Tensor:
        """Bring the photo into network space, N × 3 × H × W in [-1, 1]."""
        return images["photo"] * 2 - 1

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Give each swatch the mean colour of its band, N × 3 × H × W in [0, 1]; DataError for narrower pictures."""
        picture = ((output.float() + 1) / 2).clamp(0, 1)
        return paint(swatches(picture, self.colours), picture.shape[-2:])


def dominant_colours(photo: Tensor, colours: int) -> Tensor:
    """Find the dominant colours of photos N × 3 × H × W, RGB in [0, 1], by k-means in Lab: N × 3 × colours.

    From dark to light. The first centres are far from each other, so that a small accent is not lost among greys, and
    nothing is drawn at random. A photo of fewer colours has some of them twice.
    """
    height, width = photo.shape[-2:]
    small = F.interpolate(photo.float(), (min(height, SIDE), min(width, SIDE)), mode="area")
    points = to_lab(small).flatten(2).transpose(1, 2)  # N × P × 3
    centres = points.mean(1, keepdim=True)
    for _ in range(colours):
        farthest = torch.cdist(points, centres).amin(2).argmax(1)
        centres = torch.cat([centres, points[torch.arange(len(points), device=points.device), farthest, None]], 1)
    centres = centres[:, 1:]
    for _ in range(ROUNDS):
        mine = F.one_hot(torch.cdist(points, centres).argmin(2), colours).to(points)  # N × P × colours
        count = mine.sum(1).unsqueeze(2)
        # No product of matrices: a training's autocast would round it.
        sums = (mine.unsqueeze(3) * points.unsqueeze(2)).sum(1)
        centres = torch.where(count > 0, sums / count.clamp(min=1), centres)
    order = centres[:, :, :1].argsort(1).expand(-1, -1, 3)
    return to_rgb(centres.gather(1, order).transpose(1, 2).unsqueeze(2)).squeeze(2)


def paint(colours: Tensor, size: tuple[int, ...]) -> Tensor:
    """Paint swatches, upright bands of colours N × 3 × K: N × 3 × H × W."""
    height, width = size
    index = torch.arange(width, device=colours.device) * colours.shape[2] // width
    return colours[:, :, None, index].expand(-1, -1, height, -1)


def swatches(picture: Tensor, colours: int) -> Tensor:
    """Read the mean colour of each of `colours` upright bands of N × 3 × H × W: N × 3 × colours."""
    width = picture.shape[3]
    if width < colours:
        raise DataError(f"a palette of {colours} colours needs a picture of at least {colours} pixels width: {width}.")
    index = torch.arange(width, device=picture.device) * colours // width
    bands = F.one_hot(index, colours).to(picture)
    return (picture.mean(2).unsqueeze(3) * (bands / bands.sum(0))).sum(2)
