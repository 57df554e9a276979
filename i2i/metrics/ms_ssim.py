"""The structural similarity at several scales."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import Tensor

from i2i.contracts import Images
from i2i.errors import DataError
from i2i.metrics.pictures import Mean, check, within
from i2i.metrics.ssim import WINDOW, similarity
from i2i.nn import precise

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of the scales, the finest first, as people weigh them (Wang et al. 2003, section 3.2)."""


class MSSSIM:
    """The multi-scale structural similarity of fake and real, N × C × H × W in [0, 1]: 1 is equal, 0 unrelated.

    Wang, Simoncelli and Bovik 2003, equation 7: contrast and structure at each scale, the mean over its windows, and
    luminance at the coarsest; a scale is the mean of 2 × 2 pixels of the one before, the window that of `ssim`. Each
    channel by itself, then the mean over channels and pictures. A negative mean, of pictures that oppose each other,
    has no such power and counts as 0. scales: how many; fewer than 5 keep the first exponents, scaled to the sum of 1.
    """

    higher_is_better = True

    def __init__(self, *, scales: Annotated[int, Interval(ge=1, le=5)] = 5) -> None:
        self.weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]] if scales < 5 else [*WEIGHTS]
        self.variant = "" if scales == len(WEIGHTS) else f"{scales} scales"
        self.mean = Mean("ms_ssim")

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures, whole; DataError for pictures too small for the scales, UsageError for class indices."""
        check("ms_ssim", fake, real)
        _check_size(real.shape[2], real.shape[3], len(self.weights))
        # A channel is measured as a picture by itself.
        x, y = (precise(image).flatten(0, 1).unsqueeze(1) for image in (fake, real))
        product = torch.ones(len(x), dtype=torch.float64)
        for scale, weight in enumerate(self.weights):
            if scale:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            luminance, contrast = similarity(x, y)
            values = luminance * contrast if scale == len(self.weights) - 1 else contrast
            product *= within(values, "all", None).clamp(min=0) ** weight
        self.mean.add(product.view(len(fake), -1).mean(1))

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        return self.mean.compute()


def _check_size(height: int, width: int, scales: int) -> None:
    """Raise DataError unless the window fits into the coarsest scale."""
    least = WINDOW * 2 ** (scales - 1)
    if min(height, width) >= least:
        return
    fitting = int(math.log2(max(min(height, width) / WINDOW, 1))) + 1
    raise DataError(
        f"ms_ssim needs {least} pixels a side for {scales} scales, and these pictures are {width}x{height}: measure "
        f"larger ones, set scales = {fitting}, or use 'ssim'."
    )
