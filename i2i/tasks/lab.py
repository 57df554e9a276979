"""CIE Lab as the colour tasks use it: conversions that no mixed precision rounds.

Kornia multiplies by the colour matrix with an einsum or a convolution, which autocast rounds to 8 bits and TF32 to 11:
dark channels of saturated colours would be off by 5 of 255. Neither touches float64, where there is such a thing.
"""

from __future__ import annotations

from kornia.color import lab_to_rgb, rgb_to_lab
from torch import Tensor

from i2i.nn import precise


def to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB, N × 3 × H × W in [0, 1], to Lab (D65 white), float32: L in 0 ... 100, ab within ±108."""
    lab: Tensor = rgb_to_lab(precise(rgb))
    return lab.float()


def to_rgb(lab: Tensor) -> Tensor:
    """Convert Lab, N × 3 × H × W, to sRGB in [0, 1], float32; what sRGB does not hold is clipped."""
    rgb: Tensor = lab_to_rgb(precise(lab))
    return rgb.float().clamp(0, 1)
