"""The task of giving a grey photograph its colours, in the Lab colour space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from i2i.contracts import Batch, ImageSpec, Natural
from i2i.errors import DataError
from i2i.tasks.lab import to_lab, to_rgb
from i2i.tasks.palette import dominant_colours, swatches

if TYPE_CHECKING:
    from i2i.contracts import Images


class Colorization:
    """Predict the colours ab of a `photo` from its lightness L (Isola et al. 2017, section 4.5).

    photo: sRGB, N × 3 × H × W in [0, 1]; a grey one has three equal channels. In CIE Lab (D65 white) L is 0 ... 100,
    and the ab of sRGB colours lie within ±108. Network space is L / 50 - 1, N × 1 × H × W, and ab / 110, N × 2 × H × W.

    palette: how many dominant colours guide the network, 0 for none. Training finds them in the photo (see the task
    `palette`); a translation takes them from a picture of swatches, upright bands of equal width. They join the input
    as 2 channels of ab each, alike at every pixel.
    """

    paired = True
    out_channels = 2

    def __init__(self, *, palette: Natural = 0) -> None:
        self.palette_size = palette
        self.in_channels = 1 + 2 * palette
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("photo", "palette") if palette else ("photo",)
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Part the photo into its lightness, the input, and its colours, the truth."""
        lab = to_lab(images["photo"])
        guide = dominant_colours(images["photo"], self.palette_size) if self.palette_size else None
        return Batch(_input(lab, guide), lab[:, 1:] / 110)

    def encode(self, images: Images) -> Tensor:
        """Take the lightness of the photo, and the colours of the palette: N × in_channels × H × W in [-1, 1]."""
        guide = None
        if self.palette_size:
            if "palette" not in images:
                raise DataError("colorization: this model is guided by a palette: give a picture of swatches.")
            guide = swatches(images["palette"], self.palette_size)
        return _input(to_lab(images["photo"]), guide)

    def preview(self, images: Images) -> Tensor:
        """Return the grey photo that the lightness alone makes, N × 3 × H × W in [0, 1]."""
        lab = to_lab(images["photo"])
        return to_rgb(torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], 1))

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Join predicted colours with the photo's own lightness to RGB in [0, 1], at the photo's size.

        Colours of another size are resized bilinearly, as JPEG does: the eye sees detail in the lightness.
        """
        lightness = to_lab(images["photo"])[:, :1]
        ab = output.float() * 110
        if ab.shape[-2:] != lightness.shape[-2:]:
            ab = F.interpolate(ab, lightness.shape[-2:], mode="bilinear")
        return to_rgb(torch.cat([lightness, ab], 1))


def _input(lab: Tensor, guide: Tensor | None) -> Tensor:
    """Join the lightness, N × 1 × H × W, with the ab of the guiding colours, N × 3 × K in RGB."""
    lightness = lab[:, :1] / 50 - 1
    if guide is None:
        return lightness
    ab = to_lab(guide.unsqueeze(2))[:, 1:] / 110  # N × 2 × 1 × K
    return torch.cat([lightness, ab.flatten(1)[:, :, None, None].expand(len(lab), -1, *lab.shape[2:])], 1)
