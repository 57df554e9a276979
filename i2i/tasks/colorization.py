"""The task of giving a grey photograph its colours, in the Lab colour space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

from i2i.contracts import Batch, ImageSpec

if TYPE_CHECKING:
    from i2i.contracts import Images


class Colorization:
    """Predict the colours ab of a `photo` from its lightness L (Isola et al. 2017, section 4.5).

    photo: sRGB, N × 3 × H × W in [0, 1]; a grey one has three equal channels. In CIE Lab (D65 white) L is 0 ... 100,
    and the ab of sRGB colours lie within ±108. Network space is L / 50 - 1, N × 1 × H × W, and ab / 110, N × 2 × H × W.
    """

    paired = True
    in_channels = 1
    out_channels = 2

    def __init__(self) -> None:
        self.images: Mapping[str, ImageSpec] = {"photo": ImageSpec(3)}
        self.inputs: tuple[str, ...] = ("photo",)
        self.target = "photo"

    def batch(self, images: Images) -> Batch:
        """Part the photo into its lightness, the input, and its colours, the truth."""
        lab = _convert(rgb_to_lab, images["photo"])
        return Batch(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)

    def encode(self, images: Images) -> Tensor:
        """Take the lightness of the photo, N × 1 × H × W in [-1, 1]."""
        return _convert(rgb_to_lab, images["photo"])[:, :1] / 50 - 1

    def preview(self, images: Images) -> Tensor:
        """Return the grey photo that the lightness alone makes, N × 3 × H × W in [0, 1]."""
        lab = _convert(rgb_to_lab, images["photo"])
        return _convert(lab_to_rgb, torch.cat([lab[:, :1], torch.zeros_like(lab[:, 1:])], 1)).clamp(0, 1)

    def activate(self, output: Tensor) -> Tensor:
        """Bound raw scores by tanh, in float32."""
        return torch.tanh(output.float())

    def decode(self, output: Tensor, images: Images) -> Tensor:
        """Join predicted colours with the photo's own lightness to RGB in [0, 1], at the photo's size.

        Colours of another size are resized bilinearly, as JPEG does: the eye sees detail in the lightness.
        """
        lightness = _convert(rgb_to_lab, images["photo"])[:, :1]
        ab = output.float() * 110
        if ab.shape[-2:] != lightness.shape[-2:]:
            ab = F.interpolate(ab, lightness.shape[-2:], mode="bilinear")
        return _convert(lab_to_rgb, torch.cat([lightness, ab], 1)).clamp(0, 1)


def _convert(convert: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Convert between colour spaces in float64, where there is such a thing, to float32.

    Kornia multiplies by the colour matrix with an einsum or a convolution, which autocast rounds to 8 bits and TF32 to
    11: dark channels of saturated colours would be off by 5 of 255. Neither touches float64.
    """
    precise = image.float() if image.device.type == "mps" else image.double()
    return convert(precise).float()
