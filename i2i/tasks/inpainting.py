"""The task of filling holes in a photograph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from i2i.contracts import Batch, Count, ImageSpec, Probability
from i2i.errors import DataError, UsageError

if TYPE_CHECKING:
    from i2i.contracts import Images

VERTICES = 6
"""Corners of a brush stroke."""


class Inpainting:
    """Fill the holes of a `photo`, RGB in [0, 1], where its `mask`, N × 1 × H × W, is 1; the rest stays as it is.

    In network space the input is the photo in [-1, 1], 0 in the hole, with the mask as its fourth channel. Training
    draws the holes on the photo's device, unless the source gives masks: each photo gets rectangles, or free-form brush
    strokes (after Yu et al. 2019, section 3.4).

    brush: the share of photos that get strokes. rectangles, strokes: at most so many, at least 1. rectangle_size: the
    least and the largest side as a share of the photo's. stroke_width: the least and the largest width as a share of
    the photo's shorter side.
    """

    paired = True
    in_channels = 4
    out_channels = 3

    def __init__(
        self,
        *,
        brush: Probability = 0.5,
        rectangles: Count = 3,
        rectangle_size: tuple[Probability, Probability] = (0.1, 0.5),
        strokes: Count = 4,
        stroke_width: tuple[Probability, Probability] = (0.05, 0.15),
    ) -> None:
        for name, (least, largest) in {"rectangle_size": rectangle_size, "stroke_width": stroke_width}.items():
            if least > largest:
                raise UsageError(f"inpainting: {name!r} is [{least}, {largest}]: give the least first")
        self.brush = brush
        self.rectangles = rectangles
        self.rectangle_size = rectangle_size
        self.strokes = strokes
        self.stroke_width = stroke_width
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("photo", "mask")
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Cut the holes, those of images["mask"] where it is given; only they count."""
        photo = images["photo"]
        hole = _hole(images) if "mask" in images else self._draw(photo)
        return Batch(_cut(photo, hole), photo * 2 - 1, hole)

    def encode(self, images: Images) -> Tensor:
        """Join the photo, its hole emptied, and the mask to N × 4 × H × W; DataError without a mask."""
        return _cut(images["photo"], _hole(images))

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Put the filling, brought to [0, 1], into the hole; every known pixel is the photo's own, bit for bit."""
        return torch.where(_hole(images) > 0, ((output + 1) / 2).clamp(0, 1), images["photo"])

    def _draw(self, photo: Tensor) -> Tensor:
        """Draw a hole for each photo, N × 1 × H × W of 0 and 1, never empty, from torch's global generator."""
        n, _, height, width = photo.shape
        brushed = torch.rand(n, 1, 1, device=photo.device) < self.brush
        rectangles = _rectangles(n, height, width, self.rectangles, self.rectangle_size, photo.device)
        strokes = _strokes(n, height, width, self.strokes, self.stroke_width, photo.device)
        return torch.where(brushed, strokes, rectangles).unsqueeze(1).to(photo.dtype)


def _hole(images: Images) -> Tensor:
    """Return the hole as 0 and 1: a mask's edge may be soft, but a pixel is known or it is not."""
    if "mask" not in images:
        raise DataError("inpainting: there is no 'mask' to say where the hole is: give an alpha channel or a mask")
    return (images["mask"] >= 0.5).to(images["photo"].dtype)


def _cut(photo: Tensor, hole: Tensor) -> Tensor:
    """Empty the hole and append it as a channel, N × 4 × H × W."""
    return torch.cat([(photo * 2 - 1) * (1 - hole), hole], 1)


def _uniform(least: float, largest: float, *shape: int, device: torch.device) -> Tensor:
    """Draw numbers between least and largest."""
    return least + (largest - least) * torch.rand(*shape, device=device)


def _used(n: int, most: int, device: torch.device) -> Tensor:
    """Draw how many of `most` shapes each picture gets, 1 ... most: N × most, true for these."""
    return torch.arange(most, device=device) < torch.randint(1, most + 1, (n, 1), device=device)


def _rectangles(n: int, height: int, width: int, most: int, size: tuple[float, float], device: torch.device) -> Tensor:
    """Draw up to `most` rectangles a picture, N × H × W, true inside; each has at least one pixel and lies within."""

    def spans(side: int) -> Tensor:
        length = (_uniform(*size, n, most, 1, device=device) * side).ceil().clamp(min=1)
        start = (torch.rand(n, most, 1, device=device) * (side - length + 1)).floor()
        at = torch.arange(side, device=device)
        return (at >= start) & (at < start + length)

    rows = spans(height) & _used(n, most, device)[..., None]
    return (rows[..., :, None] & spans(width)[..., None, :]).any(1)


def _strokes(n: int, height: int, width: int, most: int, size: tuple[float, float], device: torch.device) -> Tensor:
    """Draw up to `most` brush strokes a picture, N × H × W, true inside: wide polylines that start in the picture."""
    short, shape = min(height, width), (n, most, 1, 1)
    x, y = torch.rand(*shape, device=device) * width, torch.rand(*shape, device=device) * height
    # A radius of 0.75 pixel reaches a pixel's centre from anywhere in the picture, so that no stroke is empty.
    radius = (_uniform(*size, *shape, device=device) * short / 2).clamp(min=0.75)
    reach = torch.where(_used(n, most, device)[..., None, None], radius.square(), -1)
    angle = _uniform(0, 2 * math.pi, *shape, device=device)
    columns = torch.arange(width, device=device) + 0.5
    rows = torch.arange(height, device=device)[:, None] + 0.5
    inside = torch.zeros(n, height, width, dtype=torch.bool, device=device)
    # Segment by segment: all at once would hold most x VERTICES pictures in memory.
    for _ in range(VERTICES - 1):
        angle = angle + _uniform(-math.pi / 2, math.pi / 2, *shape, device=device)
        length = _uniform(0.05, 0.3, *shape, device=device) * short
        cos, sin = angle.cos(), angle.sin()
        along = (columns - x) * cos + (rows - y) * sin
        across = (rows - y) * cos - (columns - x) * sin
        beyond = along - along.clamp(min=torch.zeros_like(length), max=length)
        inside |= (beyond.square() + across.square() <= reach).any(1)
        x, y = x + length * cos, y + length * sin
    return inside
