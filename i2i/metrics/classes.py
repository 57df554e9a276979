"""The measures of class maps: accuracy by pixel and by class, and intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.confusion import Confusion
from i2i.contracts import Images
from i2i.errors import UsageError


class Classes:
    """The accuracy of the pixels, the mean accuracy of the classes and their mean intersection over union, in [0, 1].

    Long et al. 2015, section 5; the columns of Isola et al. 2017, table 6. All come from one count over the whole set:
    of the pixels that count (are not void), int64 N × 1 × H × W. names: of the classes in the order of their indices;
    the intersection over union of each is then given too, but for those that are neither in the truth nor predicted.
    """

    higher_is_better = True

    def __init__(self, *, names: list[str] | None = None) -> None:
        self.names = names or []
        self.confusion = Confusion()

    def update(self, fake: Tensor, real: Tensor, *, mask: Tensor | None = None, images: Images | None = None) -> None:
        """Take in N class maps; UsageError for pictures."""
        if real.is_floating_point():
            raise UsageError("classes measures class indices, and these are pictures: use 'l1', 'psnr' or 'ssim'.")
        self.confusion.add(fake, real, torch.ones_like(real, dtype=torch.bool) if mask is None else mask > 0)

    def compute(self) -> dict[str, Tensor]:
        """Return "pixel accuracy", "class accuracy", "class IoU", and "IoU of NAME" for each class that has a name."""
        scores = self.confusion.scores()
        named = {f"IoU of {self.names[i]}": value for i, value in self.confusion.iou().items() if i < len(self.names)}
        return scores | named
