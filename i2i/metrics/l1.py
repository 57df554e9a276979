"""The mean absolute error."""

from __future__ import annotations

from torch import Tensor

from i2i.contracts import Images
from i2i.metrics.pictures import Mean, Region, check, within


class L1:
    """The mean absolute difference of fake and real, N × C × H × W in [0, 1]: 0 is equal, 1 black against white.

    The mean over the pictures, each by itself, of the mean over its pixels and channels. region: "mask" for the pixels
    alone that the task's mask counts (the hole of an inpainting task).
    """

    higher_is_better = False

    def __init__(self, *, region: Region = "all") -> None:
        self.region = region
        self.variant = "" if region == "all" else region
        self.mean = Mean("l1")

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N pictures; UsageError for class indices."""
        check("l1", fake, real)
        self.mean.add(within((fake.float() - real.float()).abs(), self.region, mask))

    def compute(self) -> Tensor:
        """Return the mean over all pictures so far, a scalar; DataError if there are none."""
        return self.mean.compute()
