"""The peak signal-to-noise ratio."""

from __future__ import annotations

from torch import Tensor

from i2i.contracts import Images, Positive
from i2i.metrics.pictures import Mean, Region, check, within


class PSNR:
    """The peak signal-to-noise ratio of fake against real, N × C × H × W in [0, 1], in dB.

    The mean over the pictures of each one's -10 log10(mean squared error over pixels and channels). A picture without
    error would score infinity and is counted as `cap` dB, as is any that scores more. region: "mask" for the error over
    the pixels alone that the task's mask counts (the hole of an inpainting task).
    """

    higher_is_better = True

    def __init__(self, *, cap: Positive = 100.0, region: Region = "all") -> None:
        self.cap = cap
        self.region = region
        self.variant = "" if region == "all" else region
        self.mean = Mean("psnr")

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures; UsageError for class indices."""
        check("psnr", fake, real)
        errors = within((fake.float() - real.float()).square(), self.region, mask)
        self.mean.add((-10 * errors.log10()).clamp(max=self.cap))

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        return self.mean.compute()
